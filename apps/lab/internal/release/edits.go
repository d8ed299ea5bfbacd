package release

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// edits are changes of files of a checkout: all of them are written, or none.
type edits struct {
	root  string
	files map[string][]byte // by name, relative to root
	err   error             // of the first that failed
}

func newEdits(root string) *edits { return &edits{root: root, files: map[string][]byte{}} }

// edit changes a file, or what an earlier call made of it. One that does not exist
// is empty.
func (e *edits) edit(file string, change func([]byte) ([]byte, error)) {
	if e.err != nil {
		return
	}
	content, edited := e.files[file]
	if !edited {
		var err error
		if content, err = os.ReadFile(filepath.Join(e.root, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.err = err
			return
		}
	}
	if content, e.err = change(content); e.err != nil {
		e.err = fmt.Errorf("%s: %w", file, e.err)
		return
	}
	e.files[file] = content
}

// write puts the files in place. Every step that can fail comes before the first
// file is replaced.
func (e *edits) write() error {
	if e.err != nil {
		return e.err
	}
	made := map[string]string{} // by name, what becomes the file
	defer func() {
		for _, temporary := range made {
			_ = os.Remove(temporary) // those that are not in place
		}
	}()
	for file, content := range e.files {
		path := filepath.Join(e.root, file)
		mode := fs.FileMode(0o644)
		if info, err := os.Stat(path); err == nil {
			mode = info.Mode().Perm()
		}
		temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
		if err != nil {
			return err
		}
		made[file] = temporary.Name()
		_, err = temporary.Write(content)
		if err := errors.Join(err, temporary.Chmod(mode), temporary.Close()); err != nil {
			return err
		}
	}
	for _, file := range slices.Sorted(maps.Keys(made)) {
		if err := os.Rename(made[file], filepath.Join(e.root, file)); err != nil {
			return err
		}
		delete(made, file)
	}
	return nil
}
