// Package live serves a page on which the strategies of a stage are seen while they run,
// and buttons that change them. The server draws; the page puts drawings where they belong.
package live

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"

	"github.com/grpc-lb/grpc-lb/apps/lab/internal/lanes"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/page"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/report"
	"github.com/grpc-lb/grpc-lb/apps/lab/internal/stage"
)

const (
	// every is how often a page is drawn again.
	every = 250 * time.Millisecond
	// writeTime is how long a browser may take to read an update before it is given up:
	// it connects again by itself.
	writeTime = 5 * time.Second
)

//go:embed live.html.tmpl live.js
var files embed.FS

var tmpl = template.Must(template.ParseFS(files, "live.html.tmpl"))

// Server serves the page of a stage.
type Server struct {
	// Token is part of every path: who does not know it sees nothing.
	Token  string
	stage  *stage.Stage
	script template.JS
}

// New returns a server for a stage.
func New(on *stage.Stage) *Server {
	script, _ := files.ReadFile("live.js")                                     // it is embedded
	return &Server{Token: rand.Text(), stage: on, script: template.JS(script)} //nolint:gosec // G203: it is a constant
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
	CSS     template.CSS
	Script  template.JS // a page that is kept has none, and no button
	Stages  []stageView
	Journal []report.Entry
}

type stageView struct {
	stage.Strategy
	Picture template.HTML
	// Whys are the reasons for which changes are off, each once, by change.
	Whys []why
}

// why is a reason for which changes are off.
type why struct {
	ID, Reason string
	Changes    []string
}

// whys gathers the changes that one reason keeps off; they are not named where that is
// all of them.
func whys(st stage.Strategy) (all []why) {
	for _, o := range st.Actions {
		if o.Off == "" {
			continue
		}
		i := slices.IndexFunc(all, func(w why) bool { return w.Reason == o.Off })
		if i < 0 {
			i, all = len(all), append(all, why{ID: fmt.Sprintf("why-%s-%d", st.Name, len(all)), Reason: o.Off})
		}
		all[i].Changes = append(all[i].Changes, o.Text)
	}
	if len(all) == 1 && len(all[0].Changes) == len(st.Actions) {
		all[0].Changes = nil
	}
	return all
}

// button is an offer on the page. Why is the id of the element that says why it is off.
type button struct {
	stage.Offer
	Of, Why string
}

// Button returns the button of an offer.
func (v stageView) Button(o stage.Offer) button {
	b := button{Offer: o, Of: v.Name}
	if i := slices.IndexFunc(v.Whys, func(w why) bool { return w.Reason == o.Off }); i >= 0 {
		b.Why = v.Whys[i].ID
	}
	return b
}

func (s *Server) page(w http.ResponseWriter, _ *http.Request) { s.write(w, s.script) }

// report is the page as it is, for keeping.
func (s *Server) report(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Disposition", `attachment; filename="grpc-lb.html"`)
	s.write(w, "")
}

func (s *Server) write(w http.ResponseWriter, script template.JS) {
	var b bytes.Buffer
	v, err := s.view()
	if v.Script = script; err == nil {
		err = tmpl.ExecuteTemplate(&b, "live.html.tmpl", v)
	}
	if err != nil {
		w.Header().Del("Content-Disposition")
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func (s *Server) view() (view, error) {
	seen := s.stage.View()
	v := view{CSS: page.CSS(), Journal: seen.Journal}
	for _, st := range seen.Strategies {
		picture, err := picture(st)
		if err != nil {
			return v, err
		}
		v.Stages = append(v.Stages, stageView{st, picture, whys(st)})
	}
	return v, nil
}

// picture draws the last seconds of a strategy.
func picture(st stage.Strategy) (template.HTML, error) {
	if st.Timeline == nil {
		return "", nil
	}
	var marks []lanes.Mark
	for _, m := range st.Marks {
		marks = append(marks, lanes.Mark{At: m.Time, Text: m.Text})
	}
	return lanes.Inline(lanes.Picture{
		ID: "live-" + st.Name, Title: st.Name + ": calls a second of each server pod", Text: fmt.Sprintf("%d server pods in the last %.0f s", len(st.Timeline.Lanes), stage.Shown.Seconds()),
		Timeline: *st.Timeline, Marks: marks, Zero: st.Timeline.End(),
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
		for id, html := range v.drawn() {
			if sent[id] == html {
				continue
			}
			sent[id] = html
			if err := send("draw", update{id, html}); err != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.stage.Done():
			_ = send("end", struct{}{}) // who does not get it loses the connection
			return
		case <-tick.C:
		}
	}
}

// drawn is the HTML of each element that changes, by its id.
func (v view) drawn() map[string]string {
	all := map[string]string{}
	draw := func(id, name string, data any) {
		var b bytes.Buffer
		if err := tmpl.ExecuteTemplate(&b, name, data); err == nil {
			all[id] = b.String()
		}
	}
	for _, st := range v.Stages {
		draw("stage-"+st.Name, "stage", st)
		draw("actions-"+st.Name, "actions", st)
	}
	draw("journal", "journal", v.Journal)
	return all
}

// do makes a change. What it came to is in the journal.
func (s *Server) do(w http.ResponseWriter, r *http.Request) {
	err := s.stage.Do(r.Context(), r.PathValue("strategy"), r.PathValue("action"))
	switch {
	case errors.Is(err, stage.ErrUnknown), errors.Is(err, stage.ErrNotRunning):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, stage.ErrOff):
		http.Error(w, err.Error(), http.StatusForbidden)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) end(w http.ResponseWriter, _ *http.Request) {
	s.stage.End()
	w.WriteHeader(http.StatusNoContent)
}
