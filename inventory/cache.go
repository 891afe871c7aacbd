package inventory

import (
	"fmt"
	"hash/maphash"
	"math"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/hssgate/hssgate/config"
)

// cache keeps answers by the hash of their keys, which it compares: a hash
// takes less memory than a key, and an answer holds its key's texts already.
// Images that HSS does not know are kept apart, so that however many are asked
// for, they push out only each other.
type cache struct {
	seed    maphash.Seed
	images  *otter.Cache[uint64, *answer]
	missing *otter.Cache[uint64, *answer]
	// changes counts the answers whose place was taken by one that says
	// something else.
	changes atomic.Uint64
}

// maxMissing bounds the images that are kept as unknown to HSS.
const maxMissing = 16384

func newCache(c config.Cache) (*cache, error) {
	images, limit := max(1, c.MaxImages), max(1, uint64(c.MaxBytes)) //nolint:gosec // Validate refuses negative ones
	// Every answer weighs at least its part of the bytes: so one bound keeps
	// both, on images and on bytes.
	least := limit / uint64(images)
	weigh := func(_ uint64, a *answer) uint32 {
		return uint32(min(max(least, uint64(a.bytes()), 1), math.MaxUint32)) //nolint:gosec // bounded just here
	}
	known, err := otter.New(&otter.Options[uint64, *answer]{MaximumWeight: limit, Weigher: weigh})
	if err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	missing, err := otter.New(&otter.Options[uint64, *answer]{MaximumSize: max(1, min(images/4, maxMissing))})
	if err != nil {
		return nil, fmt.Errorf("making the store of what is not found: %w", err)
	}
	return &cache{seed: maphash.MakeSeed(), images: known, missing: missing}, nil
}

func (c *cache) hash(k key) uint64 { return maphash.Comparable(c.seed, k) }

// get returns the answer for a key, or nil.
func (c *cache) get(k key) *answer { return c.at(c.hash(k), k) }

// at returns the answer for a key with a hash, or nil.
func (c *cache) at(h uint64, k key) *answer {
	if a, ok := c.images.GetIfPresent(h); ok && a.isOf(k) {
		return a
	}
	if a, ok := c.missing.GetIfPresent(h); ok && a.isOf(k) {
		return a
	}
	return nil
}

// put stores an answer in the place of any other for its key.
func (c *cache) put(a *answer) {
	k := a.key()
	h := c.hash(k)
	if was := c.at(h, k); was != nil && !was.saysWhat(a) {
		c.changes.Add(1)
	}
	if a.found {
		c.images.Set(h, a)
		c.missing.Invalidate(h)
		return
	}
	c.missing.Set(h, a)
	c.images.Invalidate(h)
}

// swap stores an answer if the one that was there still is; nil: none.
func (c *cache) swap(h uint64, was, becomes *answer) bool {
	swapped := false
	c.images.Compute(h, func(is *answer, found bool) (*answer, otter.ComputeOp) {
		if !found {
			is = nil
		}
		if swapped = is == was; swapped {
			return becomes, otter.WriteOp
		}
		return is, otter.CancelOp
	})
	if swapped && was != nil && !was.saysWhat(becomes) {
		c.changes.Add(1)
	}
	return swapped
}

// nameHash is the hash of a key's repository.
func (c *cache) nameHash(k key) uint64 {
	return c.hash(key{registry: k.registry, namespace: k.namespace, name: k.name})
}
