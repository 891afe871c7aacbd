package hsstest

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// store holds the inventory. Readers never wait for writers.
type store struct {
	shuffle *uint64
	mu      sync.Mutex // held by writers
	rows    atomic.Pointer[snapshot]
}

// snapshot is an inventory at one moment. It never changes.
type snapshot struct {
	given  []Image // as the writer gave them, with IDs
	images []Image // in the order in which they are served
	byName map[nameKey][]int
	// byScan lists the images by the time of their latest scan; scanRank is
	// each image's place in it.
	byScan   []int
	scanRank []int
}

type nameKey struct{ namespace, name string }

func (s *store) set(images []Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows.Store(newSnapshot(images, s.shuffle))
}

func (s *store) update(change func([]Image) []Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows.Store(newSnapshot(change(cloneImages(s.rows.Load().given)), s.shuffle))
}

func newSnapshot(images []Image, shuffle *uint64) *snapshot {
	given := cloneImages(images)
	inventoryfile.AssignIDs(given)
	served := slices.Clone(given)
	markLatest(served)
	if shuffle != nil {
		random := rand.New(rand.NewPCG(*shuffle, *shuffle)) //nolint:gosec // an order, not a secret
		random.Shuffle(len(served), func(i, j int) { served[i], served[j] = served[j], served[i] })
	}
	s := &snapshot{given: given, images: served, byName: map[nameKey][]int{}}
	for i := range served {
		key := nameKey{served[i].Namespace, served[i].ImageName}
		s.byName[key] = append(s.byName[key], i)
	}
	s.rankByScan()
	return s
}

func (s *snapshot) rankByScan() {
	s.byScan = make([]int, len(s.images))
	for i := range s.byScan {
		s.byScan[i] = i
	}
	slices.SortStableFunc(s.byScan, func(a, b int) int {
		return s.images[a].LatestScanTime.Compare(s.images[b].LatestScanTime)
	})
	s.scanRank = make([]int, len(s.images))
	for rank, i := range s.byScan {
		s.scanRank[i] = rank
	}
}

// page returns the rows that q asks for, and how many match on all pages. If
// repeat is set, every page but the first begins a row early, as when a row
// is added at the front while a client pages.
func (s *snapshot) page(q *query, project string, repeat bool) (rows []*Image, total int) {
	first := q.offset
	if repeat && first > 0 {
		first--
	}
	for i := range s.candidates(q) {
		if !q.matches(&s.images[i], project) {
			continue
		}
		if total >= first && len(rows) < q.limit {
			rows = append(rows, &s.images[i])
		}
		total++
	}
	return rows, total
}

// candidates yields, in the order asked for, a superset of what matches q.
func (s *snapshot) candidates(q *query) func(yield func(int) bool) {
	if q.namespace != nil && q.imageName != nil && !q.substring {
		return slices.Values(s.named(q))
	}
	return func(yield func(int) bool) {
		for i := range s.images {
			if q.sorted && q.descending {
				i = s.byScan[len(s.byScan)-1-i]
			} else if q.sorted {
				i = s.byScan[i]
			}
			if !yield(i) {
				return
			}
		}
	}
}

// named lists the images of one name in the order asked for.
func (s *snapshot) named(q *query) []int {
	found := s.byName[nameKey{*q.namespace, *q.imageName}]
	if !q.sorted {
		return found
	}
	return slices.SortedFunc(slices.Values(found), func(a, b int) int {
		if q.descending {
			a, b = b, a
		}
		return cmp.Compare(s.scanRank[a], s.scanRank[b])
	})
}

func cloneImages(images []Image) []Image {
	out := slices.Clone(images)
	for i := range out {
		out[i].AssociationImages = slices.Clone(out[i].AssociationImages)
		out[i].Vulnerabilities = slices.Clone(out[i].Vulnerabilities)
		for j := range out[i].AssociationImages {
			a := &out[i].AssociationImages[j]
			a.Vulnerabilities = slices.Clone(a.Vulnerabilities)
		}
	}
	return out
}

// versionsKey tells whose versions rows are.
type versionsKey struct {
	project, enterprise, imageType, registry, instance, namespace, name string
}

// markLatest says of rows that don't which is their image's latest version:
// the one that was updated last, and of several such the last in the list.
func markLatest(images []Image) {
	latest := map[versionsKey]int{}
	for i := range images {
		key := versionsKeyOf(&images[i])
		best, seen := latest[key]
		if !seen || !images[i].LatestUpdateTime.Before(images[best].LatestUpdateTime) {
			latest[key] = i
		}
	}
	for i := range images {
		if images[i].LatestVersion == nil {
			is := latest[versionsKeyOf(&images[i])] == i
			images[i].LatestVersion = &is
		}
	}
}

func versionsKeyOf(i *Image) versionsKey {
	return versionsKey{i.ProjectID, cmp.Or(i.EnterpriseProjectID, defaultEnterpriseProject), i.ImageType, i.RegistryName, i.InstanceID, i.Namespace, i.ImageName}
}
