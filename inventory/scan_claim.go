package inventory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
)

// rowClaim is how a row of HSS's list is claimed: by its digest, since a scan
// costs money for each, whatever its names. But HSS keeps a scan for each row:
// where one for another row of the digest has ended and this one lacks it still,
// it is claimed by itself. A row without a digest is only ever claimed so.
type rowClaim struct {
	// shared is the claim's name by the digest, own that by the row itself.
	shared, own string
	// row tells the row from others of its digest.
	row rowName
}

// rowName is a row as a claim of its digest names it, NAMESPACE/NAME:VERSION#HASH,
// or only #HASH if that would be too long. It has no blanks.
type rowName string

// maxRowName bounds what a claim names; what HSS documents is shorter.
const maxRowName = 270

func rowClaimOf(name wishKey, row *hss.Image) rowClaim {
	project := name.registry.project.name
	if !image.IsDigest(row.Digest) {
		all := []string{row.ID, row.ImageID, row.RegistryID, row.InstanceID, row.Namespace, row.Name, row.Version}
		return rowClaim{own: claimName(claimScan, project, strings.Join(all, "\x00"))}
	}
	is := rowNameOf(row)
	return rowClaim{
		shared: claimName(claimScan, project, row.Digest),
		own:    claimName(claimScan, project, row.Digest+"\x00"+string(is)), row: is,
	}
}

func rowNameOf(row *hss.Image) rowName {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		row.ID, string(row.Type), row.RegistryID, row.InstanceID, row.Namespace, row.Name, row.Version,
	}, "\x00")))
	hash := "#" + hex.EncodeToString(sum[:6])
	whole := row.Namespace + "/" + row.Name + ":" + row.Version + hash
	if len(whole) > maxRowName || strings.ContainsFunc(whole, isOdd) {
		return rowName(hash)
	}
	return rowName(whole)
}

// isOdd tells of what could break a claim into more words, or a message's line.
func isOdd(r rune) bool { return r <= ' ' || r >= 0x7f }

// name is the row's without the hash; empty if it is too long.
func (r rowName) name() string { return string(r[:max(0, strings.LastIndex(string(r), "#"))]) }

// String is the row for people.
func (r rowName) String() string { return cmp.Or(r.name(), "another image") }

// request asks for the row, if its name is whole.
func (r rowName) request(p *project) (hss.ListRequest, bool) {
	namespace, rest, ok := strings.Cut(r.name(), "/")
	at := strings.LastIndex(rest, ":")
	if !ok || at < 0 {
		return hss.ListRequest{}, false
	}
	request := hss.ListRequest{EnterpriseProjectID: p.enterpriseProject, Namespace: namespace, ImageName: rest[:at], Limit: hss.MaxLimit}
	if version := rest[at+1:]; len(version) <= maxVersionFilter {
		request.ImageVersion = version
	}
	return request, true
}

// take claims the row, if nobody holds it and the limits allow. What is held for
// another row of its digest doesn't bind it if that is the one whose scan has ended.
func (r *rowClaim) take(entries map[string]string, ended rowName, now time.Time, hold time.Duration, l limits) grant {
	if own, ok := parseClaim(entries[r.own]); r.shared == "" || ok && now.Before(own.until) {
		return take(entries, r.own, now, hold, l)
	}
	shared, ok := parseClaim(entries[r.shared])
	switch {
	case !ok || !now.Before(shared.until):
		g := take(entries, r.shared, now, hold, l)
		if g.taken != "" {
			entries[r.shared] = claim{state: claimAsking, at: now, until: now.Add(hold), row: r.row}.String()
		}
		return g
	case !shared.isOfAnother(r.row) || shared.row != ended:
		return grant{held: &shared}
	}
	return take(entries, r.own, now, hold, l)
}

// isOfAnother tells whether a claim is for another row of the digest than this.
// One that names none, as of an earlier version or a refusal, binds all of them.
func (c *claim) isOfAnother(row rowName) bool { return c.row != "" && c.row != row }

// holder is the claim that binds the row, or bound it last, if there is one.
func (r *rowClaim) holder(entries map[string]string) *claim {
	if own, ok := parseClaim(entries[r.own]); ok {
		return &own
	}
	if shared, ok := parseClaim(entries[r.shared]); ok && !shared.isOfAnother(r.row) {
		return &shared
	}
	return nil
}

// claimRow takes the right to have a row scanned.
func (s *Scans) claimRow(name wishKey, row *hss.Image, r *rowClaim) (grant, error) {
	settings := name.registry.project.scanOnDemand
	l := limits{settings.MaxPerHour, settings.MaxPerDay}
	claim := func(ended rowName) (grant, error) {
		return s.claim(func(entries map[string]string, now time.Time) grant {
			return r.take(entries, ended, now, askingHold, l)
		})
	}
	g, err := claim("")
	if err != nil || g.held == nil || !g.held.isOfAnother(r.row) {
		return g, err
	}
	other := g.held.row
	ended, err := s.hasEnded(name, row.Digest, other)
	if err != nil || !ended {
		return g, err
	}
	// The other's scan may have brought this row's result, too, since it was read.
	if lacks, err := s.stillLacksScan(name, r.row); err != nil || !lacks {
		return g, err
	}
	return claim(other)
}

// hasEnded asks HSS whether a row of a digest waits for no scan any more.
func (s *Scans) hasEnded(name wishKey, digest string, other rowName) (ended bool, err error) {
	p := name.registry.project
	request, ok := other.request(p)
	if !ok {
		return false, nil
	}
	err = s.inventory.call(s.inventory.base, question{project: p, urgency: newUrgency(forBackground), calls: 1}, func(ctx context.Context, _ int) error {
		ended = true
		for row, err := range p.lister.All(ctx, request) {
			if err != nil {
				return whyEnded(ctx, err)
			}
			if row.Unreadable != "" && (row.Anonymous() || rowNameOf(&row) == other) {
				ended = false // nobody knows, and another scan costs
				return nil
			}
			if row.Digest == digest && rowNameOf(&row) == other {
				ended = s.waitsForNothing(name, &row)
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return false, fmt.Errorf("looking for %s: %w", other, err)
	}
	return ended, nil
}

func (s *Scans) waitsForNothing(name wishKey, row *hss.Image) bool {
	l := s.lackOf(name, row)
	return l != lacksScan && l != lacksResult
}

// stillLacksScan asks HSS again whether one of an image's rows lacks a scan.
func (s *Scans) stillLacksScan(name wishKey, is rowName) (bool, error) {
	rows, err := s.inventory.listForScan(name)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(rows, func(row hss.Image) bool {
		return rowNameOf(&row) == is && s.lackOf(name, &row) == lacksScan
	}), nil
}

func (s *Scans) lackOf(name wishKey, row *hss.Image) lack {
	return lackOf(row, s.inventory.clock.Now(), time.Duration(name.registry.project.scanOnDemand.RepeatAfter))
}

// heldByAnother says that another row of the digest is being scanned.
func heldByAnother(held *claim) result {
	note := fmt.Sprintf("a scan of its digest was asked for as %s at %s", held.row, clockTime(held.at))
	if held.state == claimUnconfirmed {
		note += ", and HSS did not confirm it"
	}
	note += "; this image is asked for once that has ended, or from " + held.until.UTC().Format("2006-01-02 15:04") + " UTC on; " + tryAgain
	return result{ScanHeld, note, againAfterAsking}
}
