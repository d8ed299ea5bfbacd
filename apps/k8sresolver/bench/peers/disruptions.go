package main

import (
	"fmt"
	"os"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/apiserver"
)

const (
	callRate = 500 // calls a second to real pods
	// healthy is how long a watch is up before something is done to it.
	healthy = 1200 * time.Millisecond
)

// callPods starts calls to the pods.
func (r *rig) callPods(p *pods) error {
	r.api.Set(p.slice())
	err := r.call("Start", Load{Port: fmt.Sprint(p.port), Second: callRate}, nil)
	r.pause(healthy)
	return err
}

// count ends the calls and adds the share of those that failed.
func (r *rig) count(q quantity) error {
	var t Tally
	if err := r.call("Stop", nil, &t); err != nil {
		return err
	}
	r.add(q, t.perThousand())
	if t.Failed > 0 {
		fmt.Fprintf(os.Stderr, "%s: %d of %d calls failed, the first: %s\n", r.peer.Name, t.Failed, t.Made, t.Failure)
	}
	return nil
}

// restart replaces all pods, one after another, under calls. Its EndpointSlice is
// written as for a Deployment with maxSurge 1 and maxUnavailable 0, after a pod was told
// to end and not before.
func restart(r *rig) error {
	const (
		replicas = 10
		step     = 10 * time.Millisecond // between what happens to a pod and its slice
		drain    = 500 * time.Millisecond
		lasts    = 8 * time.Second
	)
	p := &pods{}
	defer p.stop()
	if err := p.start(replicas); err != nil {
		return err
	}
	if err := r.callPods(p); err != nil {
		return err
	}
	began := time.Now()
	for range replicas {
		if err := p.start(1); err != nil {
			return err
		}
		old, fresh := p.all[0], p.all[replicas]
		fresh.conditions = starting
		r.api.Set(p.slice())
		r.pause(step)
		fresh.conditions = ready
		r.api.Set(p.slice())
		r.pause(2 * step)
		old.conditions = draining
		r.api.Set(p.slice())
		r.pause(drain)
		old.server.GracefulStop()
		p.all = p.all[1:]
		r.api.Set(p.slice())
	}
	r.pause(lasts - time.Since(began))
	return r.count(restartFailed)
}

// outage cuts the API server off under calls. Meanwhile a pod is added.
func outage(r *rig) error {
	const patience = 30 * time.Second
	// About 3 s, and in each round another time: retries at fixed times must not be in
	// step with it.
	length := 2100*time.Millisecond + time.Duration(len(r.numbers[outageFailed])%5)*400*time.Millisecond
	p := &pods{}
	defer p.stop()
	if err := p.start(2); err != nil {
		return err
	}
	if err := r.callPods(p); err != nil {
		return err
	}
	mend := r.network.Cut()
	if err := p.start(1); err != nil {
		return err
	}
	r.api.Set(p.slice())
	r.pause(length)
	if err := mend(); err != nil {
		return err
	}
	began := time.Now()
	if r.notes[outageEnd] == "" { // else another number would not count
		select {
		case <-p.all[2].called:
			r.add(outageEnd, time.Since(began).Seconds())
		case <-time.After(patience):
			r.note(outageEnd, "> %.0f", patience.Seconds())
		case <-r.ctx.Done():
		}
	}
	return r.count(outageFailed)
}

// cutShort makes an API server without streamed lists stop in the middle of the next one.
func cutShort(s *apiserver.Server) {
	s.WithoutWatchList()
	s.CutShort()
}

// lose makes an API server never answer the next list, streamed or plain.
func lose(s *apiserver.Server) { s.Lose("list", "stream") }

// startWith returns an experiment that times a program's start, up to its first call,
// with an API server that is spoilt.
func startWith(q quantity, spoil func(*apiserver.Server)) func(*rig) error {
	return func(r *rig) error {
		const patience = 30 * time.Second
		if r.notes[q] != "" { // another number would not count
			return nil
		}
		p := &pods{}
		defer p.stop()
		if err := p.start(1); err != nil {
			return err
		}
		r.api.Set(p.slice())
		spoil(r.api)
		began := time.Now()
		if err := r.call("Begin", fmt.Sprint(p.port), nil); err != nil {
			return err
		}
		select {
		case <-p.all[0].called:
			r.add(q, time.Since(began).Seconds())
		case <-time.After(patience):
			r.note(q, "> %.0f", patience.Seconds())
		case <-r.ctx.Done():
		}
		return nil
	}
}
