package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/apiserver"
	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/faults"
)

const namespace = "shop"

// rig is a scripted API server in this process and a Measured in another.
type rig struct {
	samples
	ctx     context.Context
	dir     string // of this run
	peer    peer
	api     *apiserver.Server
	network *faults.Proxy // to the API server, if the experiment wants one
	call    func(method string, args, reply any) error
}

func experimentWith(ctx context.Context, e experiment, p peer, dir string, into samples) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	r := &rig{samples: into, ctx: ctx, dir: dir, peer: p, api: apiserver.Start()}
	defer r.api.Close()
	at := r.api.URL()
	if e.proxied {
		var err error
		if r.network, err = faults.Start(strings.TrimPrefix(at, "https://")); err != nil {
			return err
		}
		defer r.network.Stop()
		at = "https://" + r.network.Addr()
	}
	own, err := os.MkdirTemp(dir, "rig-")
	if err != nil {
		return err
	}
	token := filepath.Join(own, "token")
	if err := os.WriteFile(token, []byte("client"), 0o600); err != nil {
		return err
	}
	process := start(ctx, p, own, job{Peer: p.Name, API: conformance.API{
		URL: at, CA: r.api.CA(), TokenFile: token, Namespace: namespace,
	}})
	if process.err != nil {
		return process.err
	}
	stdin, err := process.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	process.Stderr = &stderr
	if err := process.Start(); err != nil {
		return err
	}
	client := jsonrpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{stdout, stdin})
	r.call = func(method string, args, reply any) error { return r.bounded(client, method, args, reply) }
	err = e.run(r)
	_ = client.Close() // which ends the process, unless the subject keeps it
	end := time.AfterFunc(2*time.Second, cancel)
	defer end.Stop()
	died := process.Wait()
	if err != nil && died != nil {
		return errors.New(crash(stderr.Bytes(), err))
	}
	return err
}

// bounded gives up a call with the experiment.
func (r *rig) bounded(client *rpc.Client, method string, args, reply any) error {
	if args == nil {
		args = struct{}{}
	}
	if reply == nil {
		reply = &struct{}{}
	}
	select {
	case c := <-client.Go("Measured."+method, args, reply, make(chan *rpc.Call, 1)).Done:
		if c.Error != nil {
			return fmt.Errorf("%s: %w", method, c.Error)
		}
		return nil
	case <-r.ctx.Done():
		return fmt.Errorf("%s has not ended: %w", method, r.ctx.Err())
	}
}

// await polls the updates until one of them is what is waited for, and returns it.
func (r *rig) await(limit time.Duration, is func(Update) bool) (Update, bool, error) {
	for deadline := time.Now().Add(limit); ; {
		var all []Update
		if err := r.call("Updates", nil, &all); err != nil {
			return Update{}, false, err
		}
		for _, u := range all {
			if is(u) {
				return u, true, nil
			}
		}
		if time.Now().After(deadline) {
			return Update{}, false, nil
		}
		r.pause(2 * time.Millisecond)
	}
}

func (r *rig) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.ctx.Done():
	}
}

// slice returns an EndpointSlice of ready pods, one at each address.
func slice(name string, port int32, addresses ...string) *discoveryv1.EndpointSlice {
	portName, protocol, ready := "grpc", corev1.ProtocolTCP, true
	node, zone := "node-1", "zone-1"
	es := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace,
			Labels: map[string]string{discoveryv1.LabelServiceName: measuredService},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &protocol}},
	}
	for _, a := range addresses {
		es.Endpoints = append(es.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{a},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready},
			NodeName:   &node, Zone: &zone,
			TargetRef: &corev1.ObjectReference{
				Kind: "Pod", Namespace: namespace, Name: "echo-6c9f8d7b5-" + a,
				UID: types.UID(fmt.Sprintf("6c9f8d7b-5f6a-4b1e-9d3c-%012x", a)),
			},
		})
	}
	return es
}

// addresses returns n addresses from the i-th on, none of which begins with probe.
func addresses(i, n int) []string {
	var list []string
	for k := i; k < i+n; k++ {
		list = append(list, fmt.Sprintf("10.%d.%d.%d", 1+k/62500, k/250%250, 1+k%250))
	}
	return list
}

// probeAt returns the i-th address by which an update is recognized.
func probeAt(i int) string { return fmt.Sprintf("%s%d.%d", probe, i/250, 1+i%250) }
