package k8sresolver_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/resolver"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver"
)

var seeds = flag.Uint64("seeds", 30, "number of random histories of TestModel")

// Tests random histories: slices are written and removed, watches are ended, reset
// and expired, the API server refuses for a while, and channels come and go. When it
// is quiet, every channel has exactly what modelJoin makes of the slices.
func TestModel(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

func runModel(t *testing.T, random *rand.Rand) {
	t.Helper()
	api, cfg := newInMemoryAPI()
	client := newClient(t, cfg)
	names := []string{"a", "b", "c", "d"}
	// The stand-in lists slices in the order of their resource versions, and the model
	// needs the same order: the slice written last counts last.
	var written []*discoveryv1.EndpointSlice
	forget := func(name string) {
		written = slices.DeleteFunc(written, func(es *discoveryv1.EndpointSlice) bool { return es.Name == name })
	}
	type channel struct {
		cc *lastState
		r  resolver.Resolver
	}
	channels := make(map[string]channel)
	open := func(port string) {
		cc := &lastState{}
		r, err := k8sresolver.NewBuilder(client, quiet()).Build(target("k8s:///echo-server.shop:"+port), cc, resolver.BuildOptions{})
		if err != nil {
			t.Fatal(err)
		}
		channels[port] = channel{cc, r}
	}
	defer func() {
		for _, c := range channels {
			c.r.Close()
		}
	}()
	open("grpc")
	for step := range 200 {
		name := names[random.IntN(len(names))]
		switch random.IntN(12) {
		case 0:
			api.cut(random.IntN(2) == 0)
		case 1:
			api.compact()
			api.cut(random.IntN(2) == 0)
		case 2:
			api.refuseWith(apierrors.NewServiceUnavailable("down"))
		case 3, 4:
			api.refuseWith(nil)
		case 5:
			port := []string{"grpc", "http"}[random.IntN(2)]
			if c, ok := channels[port]; ok {
				c.r.Close()
				delete(channels, port)
			} else {
				open(port)
			}
		case 6, 7:
			if i := slices.IndexFunc(written, func(es *discoveryv1.EndpointSlice) bool { return es.Name == name }); i >= 0 {
				api.remove(written[i])
				forget(name)
			}
		default:
			bytes := make([]byte, 60)
			for i := range bytes {
				bytes[i] = byte(random.Uint32())
			}
			d := dealer(bytes)
			es := d.slice(0)
			es.Name = name
			api.set(es)
			forget(name)
			written = append(written, es)
		}
		if random.IntN(4) > 0 {
			continue
		}
		// Quiet, or not: the check below needs it to be.
		if random.IntN(3) > 0 {
			<-time.After(time.Duration(random.IntN(200)) * time.Millisecond)
			continue
		}
		api.refuseWith(nil)
		<-time.After(time.Minute)
		synctest.Wait()
		for port, c := range channels {
			want := modelJoin(written, port, 0)
			if diff := cmp.Diff(want, c.cc.get()); diff != "" {
				t.Fatalf("step %d, port %s, slices %v (-model +got):\n%s", step, port, slices.Collect(maps.Keys(channels)), diff)
			}
		}
	}
}
