package kind

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"sigs.k8s.io/kind/pkg/log"
)

// logger shows what kind's library does, and keeps all that it says in a file.
type logger struct {
	detail func(string)

	mu   sync.Mutex
	file io.WriteCloser // nil keeps nothing, and nothing once it is closed
}

var _ log.Logger = (*logger)(nil)

func newLogger(dir string, detail func(string)) (*logger, error) {
	l := &logger{detail: detail}
	if dir == "" {
		return l, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(dir, "kind.log"))
	if err != nil {
		return nil, err
	}
	l.file = file
	return l, nil
}

func (l *logger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

func (l *logger) keep(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		fmt.Fprintln(l.file, strings.TrimRight(text, "\n"))
	}
}

// Warn implements log.Logger.
func (l *logger) Warn(text string) { l.keep("warning: " + text) }

// Warnf implements log.Logger.
func (l *logger) Warnf(format string, args ...any) { l.Warn(fmt.Sprintf(format, args...)) }

// Error implements log.Logger.
func (l *logger) Error(text string) { l.keep("error: " + text) }

// Errorf implements log.Logger.
func (l *logger) Errorf(format string, args ...any) { l.Error(fmt.Sprintf(format, args...)) }

// V implements log.Logger.
func (l *logger) V(level log.Level) log.InfoLogger { return info{l, level} }

type info struct {
	*logger
	level log.Level
}

// decoration is what kind puts around the name of a step.
var decoration = regexp.MustCompile(`[^\p{L}\p{N}\p{P}\p{Z}]+|[•…]|\.\.\.`)

// Enabled implements log.InfoLogger.
func (i info) Enabled() bool { return i.file != nil || i.level == 0 }

// Info implements log.InfoLogger: a step that ended is not worth a detail.
func (i info) Info(text string) {
	i.keep(text)
	if i.level == 0 && !strings.ContainsAny(text, "✓✗") {
		if step := oneLine(decoration.ReplaceAllString(text, " ")); step != "" {
			i.detail(step)
		}
	}
}

// Infof implements log.InfoLogger.
func (i info) Infof(format string, args ...any) { i.Info(fmt.Sprintf(format, args...)) }
