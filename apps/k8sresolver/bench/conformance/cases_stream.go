package conformance

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/grpc-lb/grpc-lb/apps/k8sresolver/bench/conformance/apiserver"
)

// garbled returns a case of an open watch that receives bytes which are no event.
func garbled(name, want, json, protobuf string, end bool) Case {
	return lost(name, want, 2*patience, func(b *bench) { b.script.Garble(json, protobuf, end) }, nil)
}

// streamCases are about what a watch may send beside plain events.
var streamCases = []Case{
	garbled("broken-event-ends-the-resolver", "a watch that sends what is not its format is replaced, and the set is kept",
		"{\"type\":\"MODIFIED\",\"object\":{]}\n", "\x00\x00\x00\x04what", false),
	garbled("broken-object-ends-the-resolver", "a watch that sends an event with a broken object is replaced, and the set is kept",
		"{\"type\":\"MODIFIED\",\"object\":{\"endpoints\":7}}\n", "\x00\x00\x00\x12\x0a\x08MODIFIED\x12\x06\x0a\x04what", false),
	garbled("cut-event-ends-the-resolver", "a watch that ends within an event is replaced, and the set is kept",
		"{\"type\":\"MODI", "\x00\x00\x01\x00k8", true),
	garbled("page-ends-the-resolver", "a watch into which a proxy writes a page is replaced, and the set is kept",
		"<html><body>502 Bad Gateway</body></html>\n", "<html><body>502 Bad Gateway</body></html>\n", true),
	{
		Name: "bookmark-clears-the-set",
		Want: "a bookmark is no slice",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			c := b.watch()
			c.want("10.0.0.1:8080")
			for range 3 {
				b.script.Bookmark()
			}
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			c.wantKept("10.0.0.1:8080")
		},
	},
	{
		Name: "half-a-second-list-published",
		Want: "a list after a 410 changes the set when it is whole",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")), slice("b", pod("p2", "10.0.0.2")))
			c := b.watch()
			c.want("10.0.0.1:8080", "10.0.0.2:8080")
			b.script.Stall()
			b.script.Expire()
			b.pause(500 * time.Millisecond)
			b.set(slice("c", pod("p3", "10.0.0.3")))
			b.script.Resume()
			c.wantWithin(2*patience, "10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080")
			c.wantKept("10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
	{
		Name: "watch-alone-forbidden-goes-blind",
		Want: "a client that may list and not watch has what it has listed, or is told",
		run: func(b *bench) {
			b.set(slice("a", pod("p1", "10.0.0.1")))
			b.script.Refuse(func(r apiserver.Request) *metav1.Status {
				if r.Verb == "list" {
					return nil
				}
				return apiserver.Forbidden(r.Verb, r.Resource, r.Namespace)
			})
			c := b.watch()
			if !c.await(soon, func(h []event) bool { return len(h) > 0 }) {
				b.Fatalf("nothing was told within %v", soon)
			}
			b.script.Refuse(nil)
			b.set(slice("a", pod("p1", "10.0.0.1"), pod("p2", "10.0.0.2")))
			c.wantWithin(2*patience, "10.0.0.1:8080", "10.0.0.2:8080")
		},
	},
}
