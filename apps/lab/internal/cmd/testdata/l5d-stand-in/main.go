// Command l5d-stand-in is a STAND-IN for the image docker.io/buoyantio/linkerd:1.7.5 where
// that cannot be had. It reads the same configuration and does the one thing
// that overlays/linkerd wants of Linkerd 1: take gRPC over HTTP/2 without TLS
// and balance each call over a Service's Endpoints. It picks any of them where
// Linkerd picks the less loaded of two, never retries, and starts at once:
// nothing that is measured with it tells of Linkerd.
//
// Usage: l5d-stand-in CONFIG. It exits with 0 after SIGTERM, 1 when it cannot
// serve and 2 when its configuration is not one that it understands.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"
)

// name is what it calls itself in its log and on its page.
const name = "l5d-stand-in: a STAND-IN for docker.io/buoyantio/linkerd:1.7.5, not Linkerd"

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	slog.Warn(name)
	cfg, targets, err := load(os.Args[1:])
	if err != nil {
		slog.Error(err.Error())
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, cfg, targets)
	stop()
	if err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

// config is the part of Linkerd's configuration that is understood.
type config struct {
	Admin  endpoint
	Namers []struct {
		Kind, Host string
		Port       int
	}
	Routers []struct {
		Protocol, Label, Dtab string
		Identifier            struct {
			Kind     string
			Segments int
		}
		Servers []endpoint
	}
}

type endpoint struct {
	IP   string
	Port int
}

// load reads the configuration and returns the targets in the dtab's order.
func load(args []string) (cfg config, targets []*target, err error) {
	if len(args) != 1 {
		return cfg, nil, fmt.Errorf("arguments %q: expected the configuration's path", args)
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return cfg, nil, err
	}
	if err := yaml.Unmarshal(data, &cfg); err != nil {
		return cfg, nil, fmt.Errorf("%s: %w", args[0], err)
	}
	if len(cfg.Namers) != 1 || cfg.Namers[0].Kind != "io.l5d.k8s" || len(cfg.Routers) != 1 || cfg.Routers[0].Protocol != "h2" ||
		cfg.Routers[0].Identifier.Kind != "io.l5d.header.path" || cfg.Routers[0].Identifier.Segments != 1 || len(cfg.Routers[0].Servers) != 1 {
		return cfg, nil, fmt.Errorf("%s: expected one namer io.l5d.k8s and one h2 router with one server that names calls by one segment of their path", args[0])
	}
	for line := range strings.SplitSeq(cfg.Routers[0].Dtab, ";") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		prefix, path, _ := strings.Cut(line, "=>")
		f := strings.Split(strings.TrimSpace(path), "/") // "", "#", namer, namespace, port's name, service
		if len(f) != 6 || f[1] != "#" || f[2] != "io.l5d.k8s" {
			return cfg, nil, fmt.Errorf("%s: dtab %q: expected /svc/NAME => /#/io.l5d.k8s/NAMESPACE/PORT/SERVICE", args[0], line)
		}
		targets = append(targets, &target{
			prefix: strings.TrimSpace(prefix), port: f[4], service: f[5],
			api: fmt.Sprintf("http://%s/api/v1/namespaces/%s/endpoints?fieldSelector=metadata.name%%3D%s", net.JoinHostPort(cfg.Namers[0].Host, strconv.Itoa(cfg.Namers[0].Port)), f[3], f[5]),
		})
	}
	return cfg, targets, nil
}

// run serves until the context ends, and then lets calls end for 5 s.
func run(ctx context.Context, cfg config, targets []*target) error {
	router := &http.Server{Handler: route(targets), Protocols: h2c()}
	pages := &http.Server{Handler: admin(cfg.Routers[0].Label, targets)}
	g, ctx := errgroup.WithContext(ctx)
	for server, at := range map[*http.Server]endpoint{router: cfg.Routers[0].Servers[0], pages: cfg.Admin} {
		server.Addr = net.JoinHostPort(at.IP, strconv.Itoa(at.Port))
		g.Go(func() error {
			slog.Info("serving", "address", server.Addr)
			if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_ = server.Shutdown(limit) // what then still lasts is cut
			return server.Close()
		})
	}
	for _, t := range targets {
		go t.follow(ctx)
	}
	return g.Wait()
}

// route sends a call by its path's first segment to the last rule that names it.
func route(targets []*target) http.Handler {
	proxies := map[string]http.Handler{}
	for _, t := range targets {
		proxies[t.prefix] = &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { // the authority stays
				r.Out.URL.Scheme = "http"
				r.Out.Header.Set("l5d-dst-service", t.prefix)
			},
			Transport:     t,
			FlushInterval: -1, // streams
			ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, err error) { refuse(w, t.prefix, err) },
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		segment, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if proxy, ok := proxies["/svc/"+segment]; ok {
			proxy.ServeHTTP(w, r)
			return
		}
		refuse(w, "/svc/"+segment, errors.New("no rule of the dtab matches"))
	})
}

func refuse(w http.ResponseWriter, name string, err error) {
	http.Error(w, fmt.Sprintf("%s: %v (l5d-stand-in)", name, err), http.StatusBadGateway)
}

// admin serves the two pages of Linkerd's that are asked for; every other page
// says what this is.
func admin(label string, targets []*target) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
	mux.HandleFunc("/admin/ping", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "pong") })
	mux.HandleFunc("/admin/metrics.json", func(w http.ResponseWriter, _ *http.Request) {
		metrics := map[string]int64{}
		for _, t := range targets {
			at := "rt/" + label + "/service" + t.prefix + "/"
			metrics[at+"requests"], metrics[at+"success"], metrics[at+"failures"] = t.requests.Load(), t.success.Load(), t.failures.Load()
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(metrics)
	})
	return mux
}
