package costs

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
)

//go:embed measured.json
var measured []byte

// Measured returns the committed measurement, which the tables of this repository's pages
// are made of.
func Measured() (t Table, err error) {
	err = json.Unmarshal(measured, &t)
	return t, err
}

// Valid says what keeps a table from being shown.
func (t Table) Valid() error {
	if len(t.Rows) == 0 {
		return errors.New("it has no rows")
	}
	for _, r := range t.Rows {
		if _, err := r.Calls(); err != nil {
			return fmt.Errorf("the calls of strategy %q: %w", r.Strategy, err)
		}
	}
	return nil
}
