// Package input reads what users give: files of any size and kind.
package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// The ways in which content is refused before it is looked at.
var (
	ErrTooLarge = errors.New("it is too large")
	ErrEmpty    = errors.New("it is empty")
)

// Read reads at most that many bytes. The error says why reading failed, or is ErrTooLarge
// or ErrEmpty; content of white space alone is empty.
func Read(in io.Reader, most int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(in, most+1))
	switch {
	case err != nil:
		return nil, Reason(err)
	case int64(len(content)) > most:
		return nil, fmt.Errorf("%w: more than %d MiB", ErrTooLarge, most>>20)
	case len(bytes.TrimSpace(content)) == 0:
		return nil, ErrEmpty
	}
	return content, nil
}

// Reason is what went wrong with a file, without its path.
func Reason(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
