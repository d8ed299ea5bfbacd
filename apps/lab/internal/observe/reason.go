package observe

// Kind is a kind of reasons.
type Kind int

// The kinds of reasons.
const (
	// Failed: something went wrong, and another attempt may go better.
	Failed Kind = iota
	// Lacking: what it takes is not there, and another attempt changes nothing.
	Lacking
	// OutOfReach: a cluster of this kind can never tell or do it.
	OutOfReach
)

// Reason says why something is not known or was not done; the zero value is none.
type Reason struct {
	Kind Kind
	Text string
}

func (r Reason) String() string { return r.Text }

// Error makes a reason an error.
func (r Reason) Error() string { return r.Text }
