package component

// Work is what must be done before components can be used.
type Work struct {
	// Compile are those that are compiled, or fetched by pip, and Fetch those that come
	// from the registry.
	Compile, Fetch []Component
}

// Work returns what is missing of the components, each once, and where it would come
// from.
func (b Builder) Work(all []Component) (w Work, err error) {
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.Name] {
			continue
		}
		seen[c.Name] = true
		_, built, err := b.Path(c)
		if err != nil {
			return w, err
		}
		if built {
			continue
		}
		digest, err := b.fetchable(c)
		if err != nil {
			return w, err
		}
		if digest != "" {
			w.Fetch = append(w.Fetch, c)
		} else {
			w.Compile = append(w.Compile, c)
		}
	}
	return w, nil
}

// fetchMinutes is what fetching a component takes on a usual line.
const fetchMinutes = 0.1

// Minutes returns about how long the work takes with that many processors.
func (w Work) Minutes(cpus int) (minutes float64) {
	for _, c := range w.Compile {
		minutes += c.Minutes * measuredCPUs / float64(max(cpus, 1))
	}
	return minutes + fetchMinutes*float64(len(w.Fetch))
}
