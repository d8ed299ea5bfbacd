package conformance

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"time"
)

// deadConnection is what a program may take to notice that a connection is dead, with
// the time-outs of [SetEnvironment].
const deadConnection = 15 * time.Second

var proxy struct {
	mu    sync.Mutex
	asked []string
	on    bool
}

// SetEnvironment sets variables that cases rely on, in whose values programs and
// libraries are free to look once: call it before anything else, as in TestMain.
//
//   - HTTPS_PROXY is a proxy that calls to pods must not go through. What is on the
//     loopback, which is all else, goes through none.
//   - HTTP2_READ_IDLE_TIMEOUT_SECONDS and HTTP2_PING_TIMEOUT_SECONDS make client-go notice
//     dead connections in seconds instead of a minute.
func SetEnvironment() (stop func(), err error) {
	server := httptest.NewServer(http.HandlerFunc(refuseToTunnel))
	for name, value := range map[string]string{
		"HTTPS_PROXY":                     server.URL,
		"https_proxy":                     "",
		"NO_PROXY":                        "",
		"no_proxy":                        "",
		"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "3",
		"HTTP2_PING_TIMEOUT_SECONDS":      "2",
	} {
		if err := os.Setenv(name, value); err != nil {
			server.Close()
			return nil, err
		}
	}
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	proxy.on = true
	return server.Close, nil
}

func refuseToTunnel(w http.ResponseWriter, r *http.Request) {
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	proxy.asked = append(proxy.asked, r.Host)
	http.Error(w, "this proxy is here to be left alone", http.StatusForbidden)
}

// proxied returns the hosts to which the proxy of the environment was asked to
// connect, and whether there is one.
func proxied() (hosts []string, on bool) {
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	return slices.Clone(proxy.asked), proxy.on
}
