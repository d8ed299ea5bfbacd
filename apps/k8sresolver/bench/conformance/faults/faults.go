// Package faults puts a TCP proxy between a client and a server, and lets the
// connections through it fail in the ways in which networks do. The proxy is
// Shopify's toxiproxy.
package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// Proxy forwards connections to one server. It is two proxies in a row, so that the
// server's half of a connection can go while the client's stays.
type Proxy struct {
	near, far *toxiproxy.Proxy // near is the client's
	toxics    int
}

// Start returns a proxy on the loopback to the server at the address host:port.
func Start(upstream string) (*Proxy, error) {
	far, err := start("far", upstream)
	if err != nil {
		return nil, err
	}
	near, err := start("near", far.Listen)
	if err != nil {
		far.Stop()
		return nil, err
	}
	return &Proxy{near: near, far: far}, nil
}

func start(name, upstream string) (*toxiproxy.Proxy, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxics have a logger of their own
	proxy := toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)
	if err := proxy.Start(); err != nil {
		return nil, fmt.Errorf("faults: starting a proxy to %q: %w", upstream, err)
	}
	return proxy, nil
}

// Addr returns the address that clients dial.
func (p *Proxy) Addr() string { return p.near.Listen }

// Stop closes every connection and refuses new ones.
func (p *Proxy) Stop() {
	p.near.Stop()
	p.far.Stop()
}

// Cut closes every connection and refuses new ones, until it is mended.
func (p *Proxy) Cut() (mend func() error) {
	p.near.Stop()
	return p.near.Start
}

// BlackHole drops what is sent either way, over open and new connections alike.
// Mending it closes the connections that it swallowed.
func (p *Proxy) BlackHole() (mend func() error, err error) {
	return p.add(
		toxic{Type: "timeout", Stream: "downstream", Attributes: attributes{"timeout": 0}},
		toxic{Type: "timeout", Stream: "upstream", Attributes: attributes{"timeout": 0}})
}

// Reset resets new connections at the server's first byte, and ends the open ones at
// its next.
func (p *Proxy) Reset() (mend func() error, err error) {
	return p.add(toxic{Type: "reset_peer", Stream: "downstream", Attributes: attributes{"timeout": 0}})
}

// Slow delays what the server sends, and lets through so many kilobytes a second.
func (p *Proxy) Slow(delay time.Duration, kilobytes int) (mend func() error, err error) {
	return p.add(
		toxic{Type: "latency", Stream: "downstream", Attributes: attributes{"latency": delay.Milliseconds()}},
		toxic{Type: "bandwidth", Stream: "downstream", Attributes: attributes{"rate": kilobytes}})
}

// HalfClose closes the server's half of the open connections and leaves the client's
// half open, as when a router forgets them. New connections work.
func (p *Proxy) HalfClose() (mend func() error, err error) {
	mend, err = p.add(toxic{Type: "slow_close", Stream: "downstream", Attributes: attributes{"delay": time.Hour.Milliseconds()}})
	if err != nil {
		return nil, err
	}
	p.far.Stop()
	return mend, p.far.Start()
}

type attributes map[string]any

// toxic is toxiproxy's own description of a fault.
type toxic struct {
	Name       string     `json:"name"`
	Type       string     `json:"type"`
	Stream     string     `json:"stream"`
	Attributes attributes `json:"attributes"`
}

func (p *Proxy) add(toxics ...toxic) (mend func() error, err error) {
	var names []string
	for _, t := range toxics {
		p.toxics++
		t.Name = fmt.Sprint(t.Type, p.toxics)
		spec, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		if _, err := p.near.Toxics.AddToxicJson(strings.NewReader(string(spec))); err != nil {
			return nil, fmt.Errorf("faults: adding %s: %w", spec, err)
		}
		names = append(names, t.Name)
	}
	return func() error {
		var errs []error
		for _, name := range names {
			errs = append(errs, p.near.Toxics.RemoveToxic(context.Background(), name))
		}
		return errors.Join(errs...)
	}, nil
}

// Leaks returns what a check for leaked goroutines must forgive: toxiproxy leaves some
// behind when it closes a connection under way.
func Leaks() []goleak.Option {
	const path = "github.com/Shopify/toxiproxy/v2"
	return []goleak.Option{
		goleak.IgnoreAnyFunction(path + ".(*ToxicLink).read"),
		goleak.IgnoreAnyFunction(path + ".(*ToxicLink).write"),
		goleak.IgnoreAnyFunction(path + ".(*ToxicLink).RemoveToxic.func1"),
		goleak.IgnoreAnyFunction(path + "/toxics.(*ToxicStub).Run"),
	}
}
