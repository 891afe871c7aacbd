package webhook

import "sync"

// bufferBytes is the size of a pooled buffer: more than most reviews have.
const bufferBytes = 16 << 10

// buffers keeps buffers for reuse. The zero value is ready for use.
type buffers struct{ pool sync.Pool }

// get returns a buffer of bufferBytes.
func (p *buffers) get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, bufferBytes)
	return &b
}

func (p *buffers) put(b *[]byte) { p.pool.Put(b) }
