package certificate

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
)

// Keys of a Secret's data.
const (
	// DataCurrent is the certificate of the authority in use.
	DataCurrent    = "ca.crt"
	dataCurrentKey = "ca.key"
	dataNext       = "next.crt"
	dataNextKey    = "next.key"
	dataPrevious   = "previous.crt"
)

// maxPrevious bounds the authorities that are out of use and still trusted,
// however often the authority is renewed.
const maxPrevious = 4

// Roots are the authorities that replicas share, as a Secret keeps them.
type Roots struct {
	// Current signs serving certificates; nil if there's none yet.
	Current *Root
	// Next is to follow it as soon as it is trusted; nil unless a renewal is
	// under way.
	Next *Root
	// Previous are the certificates (PEM) of those that Current replaced, the
	// oldest first, while a replica may still serve by one of them.
	Previous []byte
}

// ParseRoots reads a Secret's data. It returns what can be used of it, even if
// the error says that something is wrong. Of an empty Secret it returns empty
// Roots.
func ParseRoots(data map[string][]byte) (*Roots, error) {
	r := &Roots{}
	var problems [3]error
	r.Current, problems[0] = parsePair(data, DataCurrent, dataCurrentKey)
	r.Next, problems[1] = parsePair(data, dataNext, dataNextKey)
	r.Previous, problems[2] = parsePrevious(data[dataPrevious])
	return r, errors.Join(problems[:]...)
}

func parsePair(data map[string][]byte, certificate, key string) (*Root, error) {
	if len(data[certificate]) == 0 && len(data[key]) == 0 {
		return nil, nil //nolint:nilnil // there's none, and nothing wrong with that
	}
	root, err := ParseRoot(data[certificate], data[key])
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certificate, key, err)
	}
	return root, nil
}

func parsePrevious(data []byte) ([]byte, error) {
	var kept []byte
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return kept, fmt.Errorf("%s: it isn't PEM", dataPrevious)
		}
		one := pem.EncodeToMemory(block)
		if _, err := parseAuthority(one); err != nil {
			return kept, fmt.Errorf("%s: %w", dataPrevious, err)
		}
		kept, data = append(kept, one...), rest
	}
	return kept, nil
}

// Data returns what ParseRoots reads, with nil for what there's none of.
func (r *Roots) Data() (map[string][]byte, error) {
	data := map[string][]byte{DataCurrent: nil, dataCurrentKey: nil, dataNext: nil, dataNextKey: nil, dataPrevious: r.Previous}
	for name, root := range map[string]*Root{DataCurrent: r.Current, dataNext: r.Next} {
		if root == nil {
			continue
		}
		key, err := root.KeyPEM()
		if err != nil {
			return nil, err
		}
		data[name] = root.PEM()
		data[map[string]string{DataCurrent: dataCurrentKey, dataNext: dataNextKey}[name]] = key
	}
	return data, nil
}

// PEMs returns the certificates that are to be trusted, one by one.
func (r *Roots) PEMs() [][]byte {
	var all [][]byte
	for block, rest := pem.Decode(r.Previous); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, pem.EncodeToMemory(block))
	}
	for _, root := range []*Root{r.Current, r.Next} {
		if root != nil {
			all = append(all, root.PEM())
		}
	}
	return all
}

// promote puts Next in Current's place.
func (r *Roots) promote() *Roots {
	previous := (&Roots{Previous: r.Previous, Current: r.Current}).PEMs()
	previous = previous[max(0, len(previous)-maxPrevious):]
	return &Roots{Current: r.Next, Previous: bytes.Join(previous, nil)}
}
