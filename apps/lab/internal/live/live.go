// Package live serves a page on which strategies are seen while they run, and buttons that
// change them. The server draws; the page puts drawings where they belong.
package live

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/lanes"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/observe"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/page"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/runner"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/strategy"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/timeline"
)

const (
	// shown is how much of the past a lane has.
	shown = 90 * time.Second
	// trailing is the part at the end for which not all clients have told their calls.
	trailing = 2 * time.Second
	// every is how often a page is drawn again.
	every = 500 * time.Millisecond
	// actionTime is what asking for a change may take.
	actionTime = 15 * time.Second
	// writeTime is how long a browser may take to read an update before it is given up:
	// it connects again by itself.
	writeTime = 5 * time.Second
	// journalled is how many entries of the journal the page shows.
	journalled = 30
)

//go:embed live.html.tmpl live.js
var files embed.FS

var tmpl = template.Must(template.ParseFS(files, "live.html.tmpl"))

// Server shows strategies and takes requests to change them.
type Server struct {
	// Token is part of every path: who does not know it sees nothing.
	Token   string
	started time.Time
	script  template.JS

	mu      sync.Mutex
	order   []string
	stages  map[string]*stage
	journal []report.Entry
	quit    chan struct{}
}

// stage is a strategy on the page.
type stage struct {
	env    *runner.Environment // nil if it cannot be shown
	marks  []lanes.Mark
	ended  bool
	reason string // why it cannot be shown
}

// New returns a server for strategies, in this order. They begin one by one.
func New(strategies []string) *Server {
	script, _ := files.ReadFile("live.js") // it is embedded
	return &Server{
		Token: rand.Text(), started: time.Now(), script: template.JS(script), //nolint:gosec // G203: it is a constant
		order: slices.Clone(strategies), stages: map[string]*stage{}, quit: make(chan struct{}),
	}
}

// Watch shows a strategy until the context ends or somebody presses the button that ends
// it all. It is a [runner.Listener]'s Live.
func (s *Server) Watch(ctx context.Context, env *runner.Environment) error {
	st := &stage{env: env}
	s.mu.Lock()
	s.stages[env.Strategy.Name] = st
	s.mu.Unlock()
	s.note("%s runs", env.Strategy.Name)
	defer func() {
		s.mu.Lock()
		st.ended = true
		s.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.quit:
		return nil
	}
}

// Failed says on the page why a strategy cannot be shown.
func (s *Server) Failed(name, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.stages[name]; st != nil {
		st.ended = true
		return
	}
	s.stages[name] = &stage{ended: true, reason: reason}
}

// Done is closed when somebody has asked to end.
func (s *Server) Done() <-chan struct{} { return s.quit }

func (s *Server) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = append(s.journal, report.Entry{Time: time.Now(), Text: fmt.Sprintf(format, args...)})
}

// Handler serves the page below /TOKEN/.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	at := "/" + s.Token
	mux.HandleFunc("GET "+at+"/{$}", s.page)
	mux.HandleFunc("GET "+at+"/events", s.events)
	mux.HandleFunc("GET "+at+"/report.html", s.report)
	mux.HandleFunc("POST "+at+"/do/{strategy}/{action}", s.do)
	mux.HandleFunc("POST "+at+"/quit", s.end)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "The token is missing or wrong: open the whole link that `lab watch` printed.", http.StatusForbidden)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'")
		if origin := r.Header.Get("Origin"); r.Method != http.MethodGet && origin != "" && origin != "http://"+r.Host {
			http.Error(w, "This request comes from another page.", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// view is what the page shows at one moment.
type view struct {
	CSS      template.CSS
	Script   template.JS
	Stages   []stageView
	Journal  []report.Entry
	Snapshot bool
	Actions  []strategy.Action
}

type stageView struct {
	Name, Balancer, Reason string
	Running                bool
	Picture                template.HTML
}

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	v, err := s.view()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	v.Script = s.script
	write(w, v)
}

// report is the page as it is, without buttons, for keeping.
func (s *Server) report(w http.ResponseWriter, _ *http.Request) {
	v, err := s.view()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	v.Snapshot = true
	w.Header().Set("Content-Disposition", `attachment; filename="grpc-lb.html"`)
	write(w, v)
}

func write(w http.ResponseWriter, v view) {
	var b bytes.Buffer
	if err := tmpl.ExecuteTemplate(&b, "live.html.tmpl", v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func (s *Server) view() (view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{CSS: page.CSS(), Actions: strategy.Actions, Journal: slices.Clone(s.journal[max(0, len(s.journal)-journalled):])}
	slices.Reverse(v.Journal)
	for _, name := range s.order {
		st := s.stages[name]
		if st == nil {
			v.Stages = append(v.Stages, stageView{Name: name})
			continue
		}
		if st.env == nil {
			v.Stages = append(v.Stages, stageView{Name: name, Reason: st.reason})
			continue
		}
		picture, err := st.picture(name)
		if err != nil {
			return v, err
		}
		v.Stages = append(v.Stages, stageView{Name: name, Balancer: st.env.Strategy.Balancer, Running: !st.ended, Picture: picture})
	}
	return v, nil
}

// picture draws the last seconds of a strategy.
func (st *stage) picture(name string) (template.HTML, error) {
	var t *report.Timeline
	st.env.Record.Look(func(f *observe.Facts) { t = timeline.Last(f, shown) })
	if t == nil {
		return "", nil
	}
	var marks []lanes.Mark
	for _, m := range st.marks {
		if m.At.After(t.Start) {
			marks = append(marks, m)
		}
	}
	const most = 4
	marks = marks[max(0, len(marks)-most):]
	part := t.Between(t.Start, t.End().Add(-trailing))
	return lanes.Inline(lanes.Picture{
		ID: "live-" + name, Title: name + ": calls a second of each server pod", Text: fmt.Sprintf("%d server pods in the last %.0f s", len(part.Lanes), shown.Seconds()),
		Timeline: part, Marks: marks, Zero: part.End(),
	})
}

// update is what the page gets again and again, by the id of an element.
type update struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

// events sends what changed, until the browser goes or reads too slowly.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	sent := map[string]string{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	send := func(event string, data any) error {
		text, err := json.Marshal(data)
		if err != nil {
			return err
		}
		if err := control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text); err != nil {
			return err
		}
		return control.Flush()
	}
	for {
		v, err := s.view()
		if err != nil {
			return
		}
		for _, u := range v.updates() {
			if sent[u.ID] == u.HTML {
				continue
			}
			sent[u.ID] = u.HTML
			if err := send("draw", u); err != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.quit:
			_ = send("end", struct{}{}) // who does not get it loses the connection
			return
		case <-tick.C:
		}
	}
}

func (v view) updates() (all []update) {
	for _, st := range v.Stages {
		var b bytes.Buffer
		if err := tmpl.ExecuteTemplate(&b, "stage", st); err == nil {
			all = append(all, update{"stage-" + st.Name, b.String()})
		}
	}
	var b bytes.Buffer
	if err := tmpl.ExecuteTemplate(&b, "journal", v.Journal); err == nil {
		all = append(all, update{"journal", b.String()})
	}
	return all
}

// do makes a change. What it came to is in the journal.
func (s *Server) do(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("strategy")
	i := slices.IndexFunc(strategy.Actions, func(a strategy.Action) bool { return a.Name == r.PathValue("action") })
	s.mu.Lock()
	st := s.stages[name]
	runs := st != nil && !st.ended
	s.mu.Unlock()
	if !runs || i < 0 {
		http.Error(w, fmt.Sprintf("%s does not run, or nobody knows %s", name, r.PathValue("action")), http.StatusNotFound)
		return
	}
	action := strategy.Actions[i]
	ctx, cancel := context.WithTimeoutCause(r.Context(), actionTime, errors.New("the cluster did not answer in "+actionTime.String()))
	defer cancel()
	asked := time.Now()
	if err := action.Do(ctx, st.env); err != nil {
		s.note("%s: %s: failed: %v", name, action.Text, err)
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	s.mu.Lock()
	st.marks = append(st.marks, lanes.Mark{At: asked, Text: action.Text})
	s.mu.Unlock()
	s.note("%s: %s", name, action.Text)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) end(w http.ResponseWriter, _ *http.Request) {
	s.End()
	w.WriteHeader(http.StatusNoContent)
}

// End ends what is shown, as the button does.
func (s *Server) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.quit:
	default:
		close(s.quit)
	}
}
