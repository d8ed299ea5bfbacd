package experiment

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
)

const (
	sidecarName    = "istio-proxy"
	sidecarCalls   = 1000
	sidecarRate    = 100 // calls a second and client
	sidecarTimeout = 90 * time.Second
	awayTime       = 10 * time.Second
	// handshakes is the counter of an Istio proxy's listener for what others send.
	handshakes = "listener.0.0.0.0_15006.ssl.handshake"
)

// injected returns an error unless every pod that should has got the strategy's
// sidecar.
func (a *arena) injected(ctx context.Context) error {
	if a.strategy.Sidecar == "" {
		return nil
	}
	if err := a.await(ctx, steadyTimeout, "the clients' pods", func(*Facts) string {
		for _, p := range a.pods {
			if p.Labels[nameLabel] == a.facts.Client {
				return ""
			}
		}
		return "there is none"
	}); err != nil {
		return err
	}
	lacking := ""
	a.record.look(func(*Facts) {
		for _, name := range keys(a.pods) {
			if a.strategy.ClientsOnly && a.pods[name].Labels[nameLabel] != a.facts.Client {
				continue
			}
			spec := a.pods[name].Spec
			spec.Containers = slices.Concat(spec.Containers, spec.InitContainers) // a native sidecar is an init container
			if containerOf(spec, a.strategy.Sidecar) < 0 {
				lacking = name
			}
		}
	})
	if lacking == "" {
		return nil
	}
	a.note("pod %s got no container %s", lacking, a.strategy.Sidecar)
	return errors.New(a.strategy.LacksSidecar)
}

// callThroughSidecars runs as many clients as the overlay has, each with a
// sidecar that outlives it so that its counters can be read afterwards, and one
// without.
func callThroughSidecars(ctx context.Context, a *arena, _ *Phase) error {
	to, err := target(a.clients.Spec.Template)
	if err != nil {
		return err
	}
	// A call that is late is not lost: what is counted is who answers.
	args := []string{to, fmt.Sprintf("--count=%d", sidecarCalls), fmt.Sprintf("--rate=%d", sidecarRate), "--timeout=10s"}
	all := []func(context.Context) error{func(ctx context.Context) error {
		j := job("without-sidecar", a.clients.Spec.Template, args)
		j.Spec.Template.Labels["sidecar.istio.io/inject"] = "false"
		return a.callBare(ctx, j)
	}}
	for n := range *a.clients.Spec.Replicas {
		j := job(fmt.Sprintf("with-sidecar-%d", n+1), a.clients.Spec.Template, args)
		j.Spec.Template.Annotations = map[string]string{"sidecar.istio.io/nativeSidecar": "false"}
		all = append(all, func(ctx context.Context) error { return a.callProxied(ctx, j) })
	}
	if err := alongside(ctx, all...); err != nil {
		return err
	}
	return a.countHandshakes(ctx)
}

func (a *arena) callBare(ctx context.Context, j *batchv1.Job) error {
	ended, err := a.runJob(ctx, sidecarTimeout, j)
	if err != nil {
		return err
	}
	lines, err := a.jobLog(ctx, j.Name, ended)
	if err != nil {
		return err
	}
	a.record.update(func(f *Facts) { f.Bare = summaryOf(lines) })
	return a.deleteJob(ctx, j.Name)
}

func (a *arena) callProxied(ctx context.Context, j *batchv1.Job) error {
	ended, err := a.runJob(ctx, sidecarTimeout, j)
	if err != nil {
		return err
	}
	lines, err := a.jobLog(ctx, j.Name, ended)
	if err != nil {
		return err
	}
	summary := summaryOf(lines)
	if summary == nil {
		return fmt.Errorf("job %s logged no summary in %d lines", j.Name, len(lines))
	}
	raw, err := a.askProxy(ctx, ended.Name, "clusters?format=json")
	if err != nil {
		return err
	}
	sent, err := sentTo(raw, a.facts.Server+"."+a.facts.Namespace+".")
	if err != nil {
		return fmt.Errorf("the proxy of %s: %w", ended.Name, err)
	}
	a.record.update(func(f *Facts) {
		f.Sidecars = append(f.Sidecars, Sidecar{Client: ended.Name, Summary: *summary, Sent: f.named(sent)})
	})
	return a.deleteJob(ctx, j.Name)
}

// askProxy asks the admin interface of a pod's sidecar, which answers only
// inside of the pod.
func (a *arena) askProxy(ctx context.Context, pod, path string) ([]byte, error) {
	return a.kube.Exec(ctx, a.facts.Namespace, pod, sidecarName, "pilot-agent", "request", "GET", path)
}

func (a *arena) countHandshakes(ctx context.Context) error {
	var servers []string
	a.record.look(func(f *Facts) { servers = f.readyNow() })
	counted := map[string]int64{}
	for _, server := range servers {
		raw, err := a.askProxy(ctx, server, "stats?filter="+handshakes)
		if err != nil {
			return err
		}
		if counted[server], err = counter(raw, handshakes); err != nil {
			return fmt.Errorf("the proxy of %s: %w", server, err)
		}
	}
	a.record.update(func(f *Facts) { f.Handshakes = counted })
	return nil
}

// named replaces the addresses of servers by their names.
func (f *Facts) named(byAddress map[string]int64) map[string]int64 {
	all := map[string]int64{}
	for address, n := range byAddress {
		name := address
		for _, e := range f.Endpoints {
			for pod, its := range e.Ready {
				if its == address {
					name = pod
				}
			}
		}
		all[name] += n
	}
	return all
}

// sentTo reads Envoy's /clusters: how many requests went to each address of the
// clusters whose host begins so, retries included.
func sentTo(raw []byte, host string) (map[string]int64, error) {
	begin := bytes.IndexByte(raw, '{') // the agent logs before it answers
	if begin < 0 {
		return nil, fmt.Errorf("%.200q is no JSON", raw)
	}
	var answer struct {
		Clusters []struct {
			Name  string `json:"name"`
			Hosts []struct {
				Address struct {
					Socket struct {
						Address string `json:"address"`
					} `json:"socket_address"`
				} `json:"address"`
				Stats []struct {
					Name  string `json:"name"`
					Value int64  `json:"value,string"`
				} `json:"stats"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	if err := json.Unmarshal(raw[begin:], &answer); err != nil {
		return nil, fmt.Errorf("reading its clusters: %w", err)
	}
	sent, found := map[string]int64{}, false
	for _, c := range answer.Clusters {
		// "outbound|8080||echo-server.grpc-lb-istio.svc.cluster.local"
		parts := strings.Split(c.Name, "|")
		if parts[0] != "outbound" || !strings.HasPrefix(parts[len(parts)-1], host) {
			continue
		}
		for _, h := range c.Hosts {
			for _, s := range h.Stats {
				if s.Name == "rq_total" {
					found = true
					sent[h.Address.Socket.Address] += s.Value
				}
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("none of its %d clusters sends to %s", len(answer.Clusters), host)
	}
	return sent, nil
}

// counter reads one line "name: 3" of Envoy's /stats.
func counter(raw []byte, name string) (int64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+": "); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("it has no counter %s", name)
}

// killControlPlane ends istiod at once, and keeps it from coming back.
func killControlPlane(ctx context.Context, a *arena, _ *Phase) error {
	if err := a.scaleIn(ctx, istio.Namespace, istio.Deployment, 0); err != nil {
		return err
	}
	a.note("kill istiod")
	now := int64(0)
	return a.client.CoreV1().Pods(istio.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{LabelSelector: "app=istiod"})
}

func watchControlPlaneAway(ctx context.Context, a *arena, _ *Phase) error {
	if err := pause(ctx, awayTime); err != nil {
		return err
	}
	pods, err := a.client.CoreV1().Pods(istio.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err == nil && len(pods.Items) > 0 {
		err = fmt.Errorf("%d pods of istiod were there meanwhile", len(pods.Items))
	}
	return err
}

func restoreControlPlane(ctx context.Context, a *arena) error {
	if err := a.scaleIn(ctx, istio.Namespace, istio.Deployment, 1); err != nil {
		return err
	}
	return a.kube.Available(ctx, istio.Namespace, istio.Deployment)
}
