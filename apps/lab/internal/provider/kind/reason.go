package kind

import (
	"regexp"
	"strings"
)

var (
	// hints tell what to read or are frames of a stack, and klog's lines are about
	// each attempt.
	hints = regexp.MustCompile(`^(See '|Run '|For more help|To see the stack|goroutine \d|\[signal |[IWE]\d{4} \d\d:)` +
		`|\.(go|s):\d+( \+0x[0-9a-f]+)?$` + // a frame's file
		`|^[\w./-]+\.(\(\*?\w+\)\.)?[\w.\[\]]+(\(.*\))?$`) // a frame's function
	// causes are how programs begin to say why.
	causes = regexp.MustCompile(`(?i)\b(errors?|failed|failure|fatal|panic|cannot|can't|unable|denied|refused|invalid|exceeded|no such|no space|not found|already|timed out|unknown)\b`)
	// asides match causes, and are none.
	asides = regexp.MustCompile(`(?i)^(warning|\s*\[WARNING|\[preflight\] (Some|If you know)|Unfortunately)`)

	klogPrefix   = regexp.MustCompile(`^[IWEF]\d{4} [\d:.]+ +\d+ `)
	kubeletError = regexp.MustCompile(`err="((?:[^"\\]|\\.)*)"`)
)

// reason finds, in what a failed program printed, the line that says why: the
// first that speaks of an error, else the last one.
func reason(output string) string {
	last := ""
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || hints.MatchString(line) || asides.MatchString(line) {
			continue
		}
		if causes.MatchString(line) {
			return line
		}
		last = line
	}
	return last
}

// kubeletSays returns the error that a kubelet ended with the last time. Others are
// of little use: a kubelet logs many while a cluster starts.
func kubeletSays(log string) (fatal string) {
	for line := range strings.Lines(log) {
		if found := kubeletError.FindStringSubmatch(line); found != nil && strings.Contains(line, `"command failed"`) {
			fatal = strings.ReplaceAll(found[1], `\"`, `"`)
		}
	}
	return fatal
}
