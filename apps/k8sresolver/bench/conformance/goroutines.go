package conformance

import (
	"bytes"
	"fmt"
	"regexp"
	"runtime/pprof"
	"strconv"
)

var record = regexp.MustCompile(`(?m)^(\d+) @.*\n# labels: (\{.*\})$`)

// goroutines counts the goroutines that the case and the subject in it have started.
func (b *bench) goroutines() int {
	var profile bytes.Buffer
	b.must(pprof.Lookup("goroutine").WriteTo(&profile, 1))
	label := fmt.Sprintf("%q:%q", caseLabel, b.id)
	total := 0
	for _, m := range record.FindAllSubmatch(profile.Bytes(), -1) {
		if bytes.Contains(m[2], []byte(label)) {
			n, err := strconv.Atoi(string(m[1]))
			b.must(err)
			total += n
		}
	}
	return total
}
