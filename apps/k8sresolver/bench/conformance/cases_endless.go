package conformance

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// deadList is what a resolver may take to give up a list that does not end. A list that
// is not answered may wait in a busy API server for half of that.
const deadList = 30 * time.Second

// relisted is what a list may take that follows the end of a watch. It is less than any
// limit for a list that does not end, which a list of ten thousand endpoints must keep.
const relisted = 4 * time.Second

// Faults of lists.
func endless(b *bench) { b.script.WithoutEnd() }

func cutShort(b *bench) {
	b.script.WithoutWatchList()
	b.script.CutShort()
}

func lostFirst(b *bench) { b.script.Lose("list", "stream") }

func lostPlain(b *bench) {
	b.script.WithoutWatchList()
	b.script.Lose("list")
}

// endlessStart returns a case of a first list that does not end.
func endlessStart(name, want string, spoil func(*bench)) Case {
	return Case{Name: name, Want: want, run: func(b *bench) {
		b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
		spoil(b)
		c := b.watch()
		if !c.await(soon, func(h []event) bool { return len(h) > 0 }) {
			b.Errorf("the caller was told nothing within %v", soon)
		}
		c.wantWithin(deadList, "10.0.0.1:8080", "10.0.0.2:8080")
	}}
}

// endlessAgain returns a case of a list that does not end, which follows a watch that
// cannot resume.
func endlessAgain(name, want string, spoil, lose func(*bench)) Case {
	return lost(name, want, deadList, func(b *bench) { spoil(b); lose(b) }, nil)
}

func expire(b *bench) { b.script.Expire() }

func endForgotten(b *bench) {
	b.script.End()
	b.script.Forget()
}

// endlessCases are about lists that do not end: streamed ones that lack the bookmark
// initial-events-end, plain ones that stop in the middle, and both without an answer.
var endlessCases = []Case{
	endlessStart("endless-stream-hangs-the-start",
		"what a streamed list without its end has brought is published; callers are told something meanwhile", endless),
	endlessStart("cut-short-list-hangs-the-start",
		"a list that stops in the middle is asked for again; callers are told something meanwhile", cutShort),
	endlessStart("lost-request-hangs-the-start",
		"a first request that is never answered is made again, in this form or another; callers are told something meanwhile", lostFirst),
	endlessStart("lost-list-hangs-the-start",
		"a plain list that is never answered is asked for again; callers are told something meanwhile", lostPlain),
	{
		Name: "endless-empty-stream-hangs-the-start",
		Want: "the first pod of a Service is published, though the streamed list, empty before, does not end",
		run: func(b *bench) {
			endless(b)
			c := b.watch()
			b.pause(time.Second)
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c.wantWithin(deadList, "10.0.0.1:8080")
		},
	},
	endlessAgain("endless-stream-after-a-410-goes-blind",
		"the set is kept and what was missed arrives, though the streamed list after a 410 event does not end", endless, expire),
	endlessAgain("endless-stream-after-an-end-goes-blind",
		"the set is kept and what was missed arrives, though the streamed list after a watch that cannot resume does not end", endless, endForgotten),
	endlessAgain("cut-short-list-after-a-410-goes-blind",
		"the set is kept and what was missed arrives, though the list after a 410 event stops in the middle", cutShort, expire),
	endlessAgain("cut-short-list-after-an-end-goes-blind",
		"the set is kept and what was missed arrives, though the list after a watch that cannot resume stops in the middle", cutShort, endForgotten),
	endlessAgain("lost-list-after-a-410-goes-blind",
		"the set is kept and what was missed arrives, though the list after a 410 event is never answered", lostPlain, expire),
	endlessAgain("lost-list-after-an-end-goes-blind",
		"the set is kept and what was missed arrives, though the list after a watch that cannot resume is never answered", lostPlain, endForgotten),
	{
		Name: "endless-stream-waited-for-each-time",
		Want: "an API server that does not end its streamed lists is waited for once, not with each list",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			endless(b)
			c := b.watch()
			c.wantWithin(deadList, "10.0.0.1:8080")
			for _, address := range []string{"10.0.0.2", "10.0.0.3"} {
				b.script.Expire()
				b.set(slice("a", pod("p1", address)))
				c.wantWithin(relisted, address+":8080")
			}
			c.wantNoError()
		},
	},
	{
		Name: "slow-list-given-up",
		Want: "a list that arrives slowly is waited for, and not asked for again and again",
		run: func(b *bench) {
			all, want := many(8, 2)
			b.set(all...)
			b.script.Trickle(time.Second)
			c := b.watch()
			c.wantWithin(deadList, want...)
			if got := len(b.script.Requests()); got > 4 {
				b.Errorf("%d requests until the list was whole, want 4 at most", got)
			}
		},
	},
	{
		Name: "endless-stream-hangs-calls",
		Want: "while the first list does not end a call fails within a second, and one that waits for ready is answered in the end",
		run: func(b *bench) {
			port, _, pods := b.serve(1)
			b.set(pods[0])
			endless(b)
			conn := b.dial(port)
			began := time.Now()
			_, err := b.call(conn, deadList)
			if took := time.Since(began); took > soon || err != nil && status.Code(err) != codes.Unavailable {
				b.Errorf("the call ended after %v with %v, want an answer or Unavailable within a second", took, err)
			}
			if _, err := b.call(conn, deadList, grpc.WaitForReady(true)); err != nil {
				b.Errorf("the call that waits failed: %v", err)
			}
		},
	},
	{
		Name: "cut-short-list-fails-calls",
		Want: "calls go on while a later list does not end",
		run: func(b *bench) {
			port, at, pods := b.serve(2)
			b.set(pods[0])
			conn := b.dial(port)
			b.reaches(conn, at[0])
			cutShort(b)
			b.script.Expire()
			b.set(pods[1])
			for deadline := time.Now().Add(deadList); ; b.pause(20 * time.Millisecond) {
				from, err := b.call(conn, time.Second)
				if err != nil {
					b.Fatalf("a call failed: %v", err)
				}
				if from == at[1] {
					return
				}
				if time.Now().After(deadline) {
					b.Fatalf("within %v: no call has reached the new pod", deadList)
				}
			}
		},
	},
}
