package strategy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/install/istio"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
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

// callThroughSidecars runs as many clients as the overlay has, each with a
// sidecar that outlives it so that its counters can be read afterwards, and one
// without.
func callThroughSidecars(ctx context.Context, a *runner.Environment, _ *observe.Phase) error {
	to, err := runner.Target(a.Clients.Spec.Template)
	if err != nil {
		return err
	}
	// A call that is late is not lost: what is counted is who answers.
	args := []string{to, fmt.Sprintf("--count=%d", sidecarCalls), fmt.Sprintf("--rate=%d", sidecarRate), "--timeout=10s"}
	job := func(name string) runner.ClientJob {
		return runner.ClientJob{Name: name, Args: args, Limit: sidecarTimeout}
	}
	all := []func(context.Context) error{func(ctx context.Context) error {
		bare := job("without-sidecar")
		bare.Labels = map[string]string{"sidecar.istio.io/inject": "false"}
		ran, err := a.RunClient(ctx, bare)
		if err != nil {
			return err
		}
		a.Record.Update(func(f *observe.Facts) { f.Bare = &ran.Summary })
		return nil
	}}
	for n := range *a.Clients.Spec.Replicas {
		proxied := job(fmt.Sprintf("with-sidecar-%d", n+1))
		proxied.Annotations = map[string]string{"sidecar.istio.io/nativeSidecar": "false"}
		all = append(all, func(ctx context.Context) error { return callProxied(ctx, a, proxied) })
	}
	if err := alongside(ctx, all...); err != nil {
		return err
	}
	return countHandshakes(ctx, a)
}

// callProxied runs a client whose sidecar outlives it, and reads its counters.
func callProxied(ctx context.Context, a *runner.Environment, j runner.ClientJob) error {
	var sent map[string]int64
	j.Ended = func(ctx context.Context, pod string) error {
		raw, err := askProxy(ctx, a, pod, "clusters?format=json")
		if err != nil {
			return err
		}
		if sent, err = sentTo(raw, a.Server+"."+a.Namespace+"."); err != nil {
			return fmt.Errorf("the proxy of %s: %w", pod, err)
		}
		return nil
	}
	ran, err := a.RunClient(ctx, j)
	if err != nil {
		return err
	}
	a.Record.Update(func(f *observe.Facts) {
		f.Sidecars = append(f.Sidecars, observe.Sidecar{Client: ran.Pod, Summary: ran.Summary, Sent: f.Named(sent)})
	})
	return nil
}

// askProxy asks the admin interface of a pod's sidecar, which answers only
// inside of the pod.
func askProxy(ctx context.Context, a *runner.Environment, pod, path string) ([]byte, error) {
	return a.Kube.Exec(ctx, a.Namespace, pod, sidecarName, "pilot-agent", "request", "GET", path)
}

func countHandshakes(ctx context.Context, a *runner.Environment) error {
	var servers []string
	a.Record.Look(func(f *observe.Facts) { servers = f.ReadyNow() })
	counted := map[string]int64{}
	for _, server := range servers {
		raw, err := askProxy(ctx, a, server, "stats?filter="+handshakes)
		if err != nil {
			return err
		}
		if counted[server], err = counter(raw, handshakes); err != nil {
			return fmt.Errorf("the proxy of %s: %w", server, err)
		}
	}
	a.Record.Update(func(f *observe.Facts) { f.Handshakes = counted })
	return nil
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
func killControlPlane(ctx context.Context, a *runner.Environment, _ *observe.Phase) error {
	if err := a.ScaleIn(ctx, istio.Namespace, istio.Deployment, 0); err != nil {
		return err
	}
	a.Note("kill istiod")
	now := int64(0)
	return a.Kube.Typed.CoreV1().Pods(istio.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{LabelSelector: "app=istiod"})
}

func watchControlPlaneAway(ctx context.Context, a *runner.Environment, _ *observe.Phase) error {
	if err := runner.Pause(ctx, awayTime); err != nil {
		return err
	}
	pods, err := a.Kube.Typed.CoreV1().Pods(istio.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err == nil && len(pods.Items) > 0 {
		err = fmt.Errorf("%d pods of istiod were there meanwhile", len(pods.Items))
	}
	return err
}

func restoreControlPlane(ctx context.Context, a *runner.Environment) error {
	if err := a.ScaleIn(ctx, istio.Namespace, istio.Deployment, 1); err != nil {
		return err
	}
	return a.Kube.Available(ctx, istio.Namespace, istio.Deployment)
}
