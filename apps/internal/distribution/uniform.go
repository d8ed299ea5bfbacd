package distribution

import (
	"fmt"
	"math"
)

// Sigmas is how many standard deviations a count may be off.
const Sigmas = 5

// tail is the one-sided probability of that. A server is
// called uneven only when chance explains its count less often than that: about
// one false alarm in 1.7 million, so that a right spread is never refuted.
var tail = math.Erfc(Sigmas/math.Sqrt2) / 2

// Uniformity is the outcome of testing whether each call chose its server at
// random with the same probability, independently of the others.
type Uniformity struct {
	Calls   int64 // calls tested
	Servers int   // servers that could have been chosen, idle ones included
	// Enough says that Calls suffices to find out that one server is never
	// chosen. With fewer calls Uniform is false: nothing was proven.
	Enough bool
	// Uniform says that neither any server's count nor all counts together
	// deviate by five standard deviations.
	Uniform bool
	// Worst is the server whose count chance explains least, WorstP the
	// probability of a count at least that far out on its side.
	Worst  string
	WorstP float64
	// ChiSquare is the statistic over all servers with Servers-1 degrees of
	// freedom, ChiSquareP the probability of at least that much by chance.
	ChiSquare  float64
	ChiSquareP float64
}

// String says the outcome in one line.
func (u Uniformity) String() string {
	switch {
	case u.Servers < 2:
		return fmt.Sprintf("%d calls, %d server: a spread needs at least 2", u.Calls, u.Servers)
	case !u.Enough:
		return fmt.Sprintf("%d calls over %d servers are too few to tell, %d are needed", u.Calls, u.Servers, CallsNeeded(u.Servers))
	}
	return fmt.Sprintf("%d calls over %d servers: chi-square %.1f (p %.2g), furthest %s (p %.2g)",
		u.Calls, u.Servers, u.ChiSquare, u.ChiSquareP, u.Worst, u.WorstP)
}

// TestUniform tests the counts: each server's by the exact binomial
// distribution, all together by Pearson's chi-square. Servers that could have
// been chosen but were not must have an entry, see Counts.With.
func TestUniform(c Counts) Uniformity {
	u := Uniformity{Calls: c.Total(), Servers: len(c), WorstP: 1, ChiSquareP: 1}
	if u.Servers < 2 || u.Calls == 0 {
		return u
	}
	p := 1 / float64(u.Servers)
	mean := float64(u.Calls) * p
	for _, server := range c.Servers() {
		n := c[server]
		u.ChiSquare += (float64(n) - mean) * (float64(n) - mean) / mean
		// The margin keeps the choice among equals from hanging on rounding.
		if out := binomialTail(n, u.Calls, p); u.Worst == "" || out < u.WorstP*(1-1e-9) {
			u.Worst, u.WorstP = server, out
		}
	}
	u.ChiSquareP = chiSquareTail(u.ChiSquare, u.Servers-1)
	u.Enough = u.Calls >= CallsNeeded(u.Servers)
	u.Uniform = u.Enough && u.WorstP >= tail && u.ChiSquareP >= tail
	return u
}

// CallsNeeded returns the calls from which on a server that is never chosen, of
// n, cannot be chance at five standard deviations: 38 for 3, 83 for 6.
func CallsNeeded(n int) int64 {
	if n < 2 {
		return 0
	}
	return int64(math.Ceil(math.Log(tail) / math.Log1p(-1/float64(n))))
}

// binomialTail returns the probability of a count at least as far from the mean
// as k, on k's side, in n trials of probability p (0 < p < 1).
func binomialTail(k, n int64, p float64) float64 {
	first, last := int64(0), k
	if float64(k) > float64(n)*p {
		first, last = k, n
	}
	all, _ := math.Lgamma(float64(n) + 1)
	var sum float64
	for i := first; i <= last; i++ {
		chosen, _ := math.Lgamma(float64(i) + 1)
		rest, _ := math.Lgamma(float64(n-i) + 1)
		sum += math.Exp(all - chosen - rest + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(sum, 1)
}

// chiSquareTail returns the probability that chi-square with df degrees of
// freedom is at least x. For whole df the incomplete gamma function is a finite
// sum; its terms are built as logarithms, which do not underflow.
func chiSquareTail(x float64, df int) float64 {
	if x <= 0 {
		return 1
	}
	half := x / 2
	var sum float64
	start := 0.0
	if df%2 == 1 {
		sum, start = math.Erfc(math.Sqrt(half)), 0.5
	}
	for a := start; a < float64(df)/2; a++ {
		gamma, _ := math.Lgamma(a + 1)
		sum += math.Exp(a*math.Log(half) - half - gamma)
	}
	return min(sum, 1)
}

// TestShare tests whether each of all calls took a way with the probability share,
// 0 < share < 1, independently of the others, if n of them took it: by the exact binomial
// distribution. P is the probability of a count at least that far out on its side.
func TestShare(n, all int64, share float64) (p float64, plausible bool) {
	p = binomialTail(n, all, share)
	return p, p >= tail
}
