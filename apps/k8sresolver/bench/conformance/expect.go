package conformance

import (
	"slices"
	"strings"
	"time"
)

// want waits until gRPC has exactly these endpoints.
func (c *channel) want(endpoints ...string) {
	c.wantWithin(patience, endpoints...)
}

func (c *channel) wantWithin(limit time.Duration, endpoints ...string) {
	slices.Sort(endpoints)
	if !c.await(limit, func(h []event) bool {
		got := published(h)
		return got != nil && slices.Equal(got, endpoints)
	}) {
		c.Fatalf("within %v: gRPC has %s, want %s", limit, short(published(c.history())), short(endpoints))
	}
	c.settle()
}

// settle waits, after the first set, for the watch that some resolvers begin only then:
// what is lost in between is the matter of one case. It does not insist.
func (c *channel) settle() {
	c.settled.Do(func() {
		for range 4 {
			c.pause(50 * time.Millisecond)
			if c.script != nil && c.script.Watches() > 0 {
				return
			}
		}
	})
}

// wantNone waits until gRPC has no endpoint, told by an empty state or, when it had
// none before, by an error.
func (c *channel) wantNone() {
	if !c.await(patience, func(h []event) bool {
		return len(h) > 0 && len(published(h)) == 0
	}) {
		c.Fatalf("within %v: gRPC has %s, want an empty set", patience, short(published(c.history())))
	}
}

// wantError waits for an error with all of the parts in its text.
func (c *channel) wantError(limit time.Duration, parts ...string) {
	if !c.await(limit, func(h []event) bool {
		return slices.ContainsFunc(failures(h), func(err error) bool { return containsAll(err.Error(), parts) })
	}) {
		c.Fatalf("within %v: the caller was told %v, want an error with %q", limit, failures(c.history()), parts)
	}
}

// wantNoError fails if a caller was told an error once there were endpoints.
func (c *channel) wantNoError() {
	h := c.history()
	first := slices.IndexFunc(h, func(e event) bool { return e.err == nil })
	if errs := failures(h[max(first, 0):]); len(errs) > 0 {
		c.Errorf("the caller was told %v, want nothing while there are endpoints", errs)
	}
}

// never fails if gRPC has ever had an endpoint with this address.
func (c *channel) never(address string) {
	for _, s := range states(c.history()) {
		if slices.ContainsFunc(lines(s), func(l string) bool { return strings.Contains(l, address) }) {
			c.Errorf("gRPC was given %s, want it never to have %q", short(lines(s)), address)
			return
		}
	}
}

// wantKept fails if gRPC was ever given less than these endpoints since the first
// state that had them all.
func (c *channel) wantKept(endpoints ...string) {
	began := false
	for _, s := range states(c.history()) {
		got := lines(s)
		missing := slices.ContainsFunc(endpoints, func(e string) bool { return !slices.Contains(got, e) })
		if began && missing {
			c.Errorf("gRPC was given %s, want %s kept", short(got), short(endpoints))
		}
		began = began || !missing
	}
}

func containsAll(text string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) })
}

// short keeps a failure readable when there are thousands of endpoints.
func short(list []string) string {
	if list == nil {
		return "nothing yet"
	}
	const most = 12
	if len(list) > most {
		return "[" + strings.Join(list[:most], " ") + " …]"
	}
	return "[" + strings.Join(list, " ") + "]"
}
