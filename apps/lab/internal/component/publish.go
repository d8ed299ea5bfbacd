package component

import (
	"context"
	"time"
)

// pushTime is what packing and pushing one component may take.
const pushTime = 30 * time.Minute

// Publish builds for each platform the components that are not recorded, unless the
// registry has them, and pushes them. Anew builds what the registry has, too: its word
// for a digest is not one to record. It returns what it pushed.
func (b Builder) Publish(ctx context.Context, platforms []Platform, anew bool, step Step) (all []Published, err error) {
	recorded, err := readRecord(b.Root)
	if err != nil {
		return nil, err
	}
	for _, on := range platforms {
		b.Host, b.NodeArch = on, on.Arch
		for _, group := range Groups {
			var wanted []Component
			keys := map[string]Published{}
			for _, c := range group {
				if b.platform(c) != on { // what runs in nodes is for Linux
					continue
				}
				p, err := b.published(c)
				if err != nil {
					return all, err
				}
				known := recorded[p.Platform][c.Name].Key == p.Key
				if !known && !anew {
					if known, err = b.Registry.has(ctx, p); err != nil {
						return all, err
					}
				}
				if !known {
					wanted, keys[c.Name] = append(wanted, c), p
				}
			}
			programs, _, err := b.BuildAll(ctx, wanted, step)
			if err != nil {
				return all, err
			}
			for _, c := range wanted {
				p := keys[c.Name]
				err := step(ctx, "push "+p.Platform+" "+c.Name, pushTime, func(ctx context.Context, _ func(string)) error {
					p.Digest, err = b.Registry.push(ctx, c, p, programs[c.Name])
					return err
				})
				if err != nil {
					return all, err
				}
				all = append(all, p)
			}
		}
	}
	return all, nil
}

// published names the component as it would be in a registry, without its digest.
func (b Builder) published(c Component) (Published, error) {
	version, err := c.Version(b.Root)
	if err != nil {
		return Published{}, err
	}
	on := b.platform(c)
	key, err := c.key(b.Root, version, on)
	return Published{Platform: on.String(), Component: c.Name, Key: key}, err
}
