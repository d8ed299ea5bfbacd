package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	port = 8080
	// giveUp is how long an update is waited for: the answer to whether it comes at all
	// is a case of the suite.
	giveUp = 5 * time.Second
	// settled is how long a subject is left alone between two losses.
	settled = 6 * time.Second
)

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// open opens channels and waits for the first set.
func (r *rig) open(n int) error {
	if err := r.call("Open", n, nil); err != nil {
		return err
	}
	err := r.published()
	r.pause(500 * time.Millisecond) // for the watch that follows a list
	return err
}

// published waits for the first set.
func (r *rig) published() error {
	_, ok, err := r.await(giveUp, func(u Update) bool { return u.Endpoints > 0 })
	if err == nil && !ok {
		err = fmt.Errorf("it publishes nothing within %v", giveUp)
	}
	return err
}

// timed changes the probe's address and adds how long it took to be published.
func (r *rig) timed(q quantity, i int, before func()) error {
	if err := r.call("Forget", nil, nil); err != nil {
		return err
	}
	before()
	began := time.Now()
	r.api.Set(slice("probe", port, probeAt(i)))
	u, ok, err := r.await(giveUp, func(u Update) bool { return u.Probe == probeAt(i) })
	switch {
	case err != nil:
		return err
	case ok:
		r.add(q, ms(u.At.Sub(began)))
	default:
		r.note(q, "> %.0f", ms(giveUp))
	}
	return nil
}

// events measures what becomes of single changes of a Service of 101 pods, with the
// watch up and after it was lost.
func events(r *rig) error {
	r.api.Set(slice("hundred", port, addresses(0, 100)...), slice("probe", port, probeAt(0)))
	if err := r.open(1); err != nil {
		return err
	}
	n := 0
	for range 40 {
		n++
		r.pause(20*time.Millisecond + rand.N(80*time.Millisecond))
		if err := r.timed(eventDelay, n, func() {}); err != nil {
			return err
		}
		if r.notes[eventDelay] != "" {
			break
		}
	}
	if r.peer.noAPI {
		for _, q := range []quantity{eventBytes, blindEnd, blindReset, blindGone} {
			r.note(q, "no watch")
		}
	} else if err := r.losses(&n); err != nil {
		return err
	}
	return r.closes()
}

func (r *rig) losses(n *int) error {
	before := r.api.Sent()
	r.api.Set(slice("hundred", port, append(addresses(0, 99), "10.99.0.1")...))
	r.pause(300 * time.Millisecond)
	of := 100.0
	if r.peer.pods {
		of = 2 // a pod goes, another comes
	}
	r.add(eventBytes, float64(r.api.Sent()-before)/of)

	for _, loss := range []struct {
		quantity quantity
		lose     func()
	}{
		{blindEnd, func() { r.api.End() }},
		{blindReset, func() { r.api.Reset() }},
		{blindGone, func() { r.api.Forget(); r.api.End() }},
	} {
		for range 2 {
			*n++
			r.pause(settled)
			if err := r.timed(loss.quantity, *n, loss.lose); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rig) closes() error {
	for range 40 {
		if err := r.call("Open", 1, nil); err != nil {
			return err
		}
		r.pause(5 * time.Millisecond)
		var took []time.Duration
		if err := r.call("Close", nil, &took); err != nil {
			return err
		}
		for _, d := range took {
			r.add(closing, ms(d))
		}
	}
	return nil
}

// storm measures a rollout: each event replaces one of 1,000 pods, under a real channel
// with round_robin.
func storm(r *rig) error {
	const (
		slices, size = 10, 100
		rate         = 67
		lasts        = 10 * time.Second
	)
	for i := range slices {
		r.api.Set(slice(fmt.Sprint("s", i), port, addresses(i*size, size)...))
	}
	if err := r.call("Dial", nil, nil); err != nil {
		return err
	}
	if err := r.published(); err != nil {
		return err
	}
	r.pause(2 * time.Second)
	if err := r.call("Forget", nil, nil); err != nil {
		return err
	}
	var used, usedBefore time.Duration
	if err := r.call("CPU", nil, &usedBefore); err != nil {
		return err
	}
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	began, i := time.Now(), 0
	for ; time.Since(began) < lasts; i++ {
		<-tick.C
		s := i % slices
		current := addresses(s*size, size)
		current[i/slices%size] = fmt.Sprintf("10.150.%d.%d", i/250, 1+i%250)
		r.api.Set(slice(fmt.Sprint("s", s), port, current...))
	}
	if err := r.call("CPU", nil, &used); err != nil {
		return err
	}
	var all []Update
	if err := r.call("Updates", nil, &all); err != nil {
		return err
	}
	took := time.Since(began)
	r.add(stormRate, float64(len(all))/took.Seconds())
	r.add(stormCPU, 100*(used-usedBefore).Seconds()/took.Seconds())
	if err := r.timed(stormLag, 1, func() {}); err != nil {
		return err
	}
	return r.call("Hangup", nil, nil)
}

// heap measures what 10,000 endpoints weigh, for the first channel and for further ones.
func heap(r *rig) error {
	const slices, size, further = 100, 100, 9
	for i := range slices {
		r.api.Set(slice(fmt.Sprint("s", i), port, addresses(i*size, size)...))
	}
	published := 0
	weigh := func(open int) (float64, error) {
		var before, after uint64
		if err := r.call("Heap", nil, &before); err != nil {
			return 0, err
		}
		if err := r.open(open); err != nil {
			return 0, err
		}
		r.pause(2 * time.Second)
		var all []Update
		if err := r.call("Updates", nil, &all); err != nil {
			return 0, err
		}
		published = all[len(all)-1].Endpoints
		if err := r.call("Forget", nil, nil); err != nil {
			return 0, err
		}
		err := r.call("Heap", nil, &after)
		return (float64(after) - float64(before)) / 1024 / float64(open), err
	}
	first, err := weigh(1)
	if err != nil {
		return err
	}
	each, err := weigh(further)
	if err != nil {
		return err
	}
	r.add(heapFirst, first)
	r.add(heapFurther, each)
	if published < slices*size {
		r.note(heapFirst, "%.0f, publishes %d", first, published)
		r.note(heapFurther, "%.0f, publishes %d", each, published)
	}
	if r.peer.noAPI {
		r.note(watches, "no watch")
	} else {
		r.add(watches, float64(r.api.Watches()))
	}
	return nil
}

// idle measures the first call of a channel that was idle, to a server in this process.
func idle(r *rig) error {
	p := &pods{}
	defer p.stop()
	if err := p.start(1); err != nil {
		return err
	}
	r.api.Set(p.slice())
	var took []time.Duration
	if err := r.call("Idle", Idleness{Times: 20, Port: fmt.Sprint(p.port)}, &took); err != nil {
		return err
	}
	for _, d := range took {
		r.add(idleCall, ms(d))
	}
	return r.call("Hangup", nil, nil)
}
