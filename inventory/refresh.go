package inventory

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// refresher asks again for the images of a project that are in use before
// their answers grow old, so that requests find them fresh. An answer that is
// used is put on its list once; what is not used any more drops out by itself.
type refresher struct {
	mu   sync.Mutex
	due  dueAnswers
	wake chan struct{} // holds one: the list begins earlier than it did
}

// maxDue bounds the list. What finds no place is asked for when it is needed.
const maxDue = 1 << 16

// refreshAfter is the part of an answer's time after which it is asked for
// again: refreshAfter tenths.
const refreshAfter = 8

func newRefresher() *refresher { return &refresher{wake: make(chan struct{}, 1)} }

// refreshLater sees to it that an answer which is used will be refreshed. That
// HSS does not know an image is asked again only when somebody asks: else made
// up names would cost calls without end.
func (i *Inventory) refreshLater(a *answer, asOf int64, lasts time.Duration, digest string) {
	if !i.started.Load() || a.used.Load() || !a.isFound(digest) || !a.used.CompareAndSwap(false, true) {
		return
	}
	a.registry.project.refresher.add(a, asOf+int64(lasts/10*refreshAfter))
}

// add puts an answer on the list.
func (r *refresher) add(a *answer, at int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.due) >= maxDue {
		a.used.Store(false)
		return
	}
	heap.Push(&r.due, dueAnswer{at, a})
	if r.due[0].answer != a {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// next takes the first answer off the list if its time has come. Otherwise it
// returns how long there is to wait, or less than 0 if the list is empty.
func (r *refresher) next(now int64) (*answer, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.due) == 0 {
		return nil, -1
	}
	if wait := r.due[0].at - now; wait > 0 {
		return nil, time.Duration(wait)
	}
	first, _ := heap.Pop(&r.due).(dueAnswer) // it holds nothing else
	return first.answer, 0
}

// run refreshes until ctx ends, at most as many answers at a time as the
// background may have calls.
func (r *refresher) run(ctx context.Context, i *Inventory, p *project) {
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, p.turns.background)
	for ctx.Err() == nil {
		a, wait := r.next(i.clock.Now().UnixNano())
		if a == nil {
			r.wait(ctx, i, wait)
			continue
		}
		if !i.isDue(a) {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		under.Go(func() {
			defer func() { <-slots }()
			// What went wrong is remembered, and whoever needs the answer is told.
			_, _ = i.ask(ctx, a.key(), a, "", forBackground)
		})
	}
}

// isDue tells whether an answer that was put on the list is still the one
// that is known, and has not been vouched for since.
func (i *Inventory) isDue(a *answer) bool {
	a.used.Store(false)
	return i.cache.get(a.key()) == a && (a.doubtful || i.age(a) >= i.lasts(a, "")/10*refreshAfter)
}

// wait waits for a while, or without end if it is negative, or until the list
// begins earlier.
func (r *refresher) wait(ctx context.Context, i *Inventory, d time.Duration) {
	var timer <-chan time.Time
	if d >= 0 {
		t := i.clock.NewTimer(d)
		defer t.Stop()
		timer = t.C()
	}
	select {
	case <-timer:
	case <-r.wake:
	case <-ctx.Done():
	}
}

// dueAnswer is an answer and when to ask for it again.
type dueAnswer struct {
	at     int64
	answer *answer
}

// dueAnswers is a heap of answers, the earliest first.
type dueAnswers []dueAnswer

func (d dueAnswers) Len() int           { return len(d) }
func (d dueAnswers) Less(i, j int) bool { return d[i].at < d[j].at }
func (d dueAnswers) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push adds an answer, for package heap.
func (d *dueAnswers) Push(x any) {
	if a, ok := x.(dueAnswer); ok {
		*d = append(*d, a)
	}
}

// Pop removes the last answer, for package heap.
func (d *dueAnswers) Pop() any {
	last := len(*d) - 1
	a := (*d)[last]
	(*d)[last] = dueAnswer{}
	*d = (*d)[:last]
	return a
}
