package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// target is what one rule of the dtab leads to.
type target struct {
	prefix, port, service, api string

	addresses                   atomic.Pointer[[]string] // follow writes it
	requests, success, failures atomic.Int64
}

// backends is the transport of all targets: HTTP/2 without TLS. Like Linkerd it
// pings connections, though only those that are silent for 5 s.
var backends = &http.Transport{Protocols: h2c(), HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second}, IdleConnTimeout: time.Minute}

func h2c() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// RoundTrip implements http.RoundTripper. It picks at random: taking turns, two
// clients that call in step would each see but every other server.
func (t *target) RoundTrip(r *http.Request) (*http.Response, error) {
	t.requests.Add(1)
	response, err := t.send(r)
	if err != nil || response.StatusCode >= 500 {
		t.failures.Add(1)
	} else {
		t.success.Add(1)
	}
	return response, err
}

func (t *target) send(r *http.Request) (*http.Response, error) {
	addresses := t.addresses.Load()
	if addresses == nil || len(*addresses) == 0 {
		return nil, errors.New("no endpoints")
	}
	r.URL.Host = (*addresses)[rand.IntN(len(*addresses))]
	return backends.RoundTrip(r)
}

// follow keeps the addresses as the Endpoints say, until the context ends. What
// was known last is used while the API cannot be asked.
func (t *target) follow(ctx context.Context) {
	for {
		if err := t.watch(ctx); ctx.Err() == nil && err != nil {
			slog.Warn("endpoints", "service", t.service, "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// object is the part of core/v1 Endpoints that is read.
type object struct {
	Subsets []struct {
		Addresses []struct{ IP string }
		Ports     []struct {
			Name string
			Port int
		}
	}
}

// watch lists and then watches until the API ends it.
func (t *target) watch(ctx context.Context) error {
	var list struct {
		Metadata struct{ ResourceVersion string }
		Items    []object
	}
	if err := get(ctx, t.api, func(d *json.Decoder) error { return d.Decode(&list) }); err != nil {
		return err
	}
	t.set(list.Items...)
	return get(ctx, t.api+"&watch=true&resourceVersion="+list.Metadata.ResourceVersion, func(d *json.Decoder) error {
		for {
			var event struct {
				Type   string
				Object object
			}
			if err := d.Decode(&event); err != nil {
				return err
			}
			switch event.Type {
			case "ADDED", "MODIFIED":
				t.set(event.Object)
			case "DELETED":
				t.set()
			default:
				return fmt.Errorf("watch event %s", event.Type)
			}
		}
	})
}

// set takes over the ready addresses of the port.
func (t *target) set(objects ...object) {
	addresses := []string{}
	for _, o := range objects {
		for _, s := range o.Subsets {
			for _, p := range s.Ports {
				for _, a := range s.Addresses {
					if p.Name == t.port {
						addresses = append(addresses, net.JoinHostPort(a.IP, strconv.Itoa(p.Port)))
					}
				}
			}
		}
	}
	t.addresses.Store(&addresses)
	slog.Info("endpoints", "service", t.service, "addresses", addresses)
}

var kubectl = &http.Transport{}

// get reads from the kubectl-proxy, whatever HTTP_PROXY says.
func get(ctx context.Context, url string, read func(*json.Decoder) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: kubectl}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return read(json.NewDecoder(response.Body))
}
