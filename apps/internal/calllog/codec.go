package calllog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
)

// maxLine is far above the longest line, a window of some thousand servers.
const maxLine = 4 << 20

// Encode returns the line as JSON with its newline. It fills in msg and level;
// the time is the caller's.
func Encode(line Line) ([]byte, error) {
	head := line.Head()
	head.Msg, head.Level = line.kind(), "INFO"
	if head.Msg == MsgFailure {
		head.Level = "WARN"
	}
	b, err := json.Marshal(line)
	if err != nil {
		return nil, fmt.Errorf("calllog: encoding the %q line: %w", head.Msg, err)
	}
	return append(b, '\n'), nil
}

// Decode parses one line. A line of a kind that is not listed here is an *Other.
func Decode(b []byte) (Line, error) {
	var head Header
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("calllog: %.200q is no line of echo-client, expected a JSON object: %w", b, err)
	}
	if head.Msg == "" {
		return nil, fmt.Errorf("calllog: %.200q is no line of echo-client: it has no msg", b)
	}
	var line Line
	switch head.Msg {
	case MsgStart:
		line = new(Start)
	case MsgFirstAnswer:
		line = new(FirstAnswer)
	case MsgPeer:
		line = new(Peer)
	case MsgFailure:
		line = new(Failure)
	case MsgWindow:
		line = new(Window)
	case MsgStreamEnd:
		line = new(StreamEnd)
	case MsgSummary:
		line = new(Summary)
	case MsgResolved:
		line = new(Resolved)
	default:
		return &Other{Header: head}, nil
	}
	if err := json.Unmarshal(b, line); err != nil {
		return nil, fmt.Errorf("calllog: decoding the %q line %.200q: %w", head.Msg, b, err)
	}
	return line, nil
}

// Read yields the lines of a log in order, as they come, without empty ones. A
// line that cannot be parsed is yielded as an error and reading goes on: a log
// that was cut in the middle of a line is still worth reading.
func Read(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			if b := bytes.TrimSpace(lines.Bytes()); len(b) > 0 && !yield(Decode(b)) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, fmt.Errorf("calllog: reading the log: %w", err))
		}
	}
}
