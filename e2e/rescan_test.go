package e2e_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// testRescans follows images while HSS scans them again.
func testRescans(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	server := f.hss["rescan"]
	add(server, row("nightly"), row("moved"), row("first", unscanned))
	t.Run("a result that HSS hides during the next scan is remembered", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		const image = "rescan.example.com/prod/nightly:1"
		s.admitted(t, s.run(t, newPod("nightly", image)))
		change(server, "nightly", func(i *hsstest.Image) {
			i.ScanStatus, i.SeverityLevel, i.VulNum, i.MaliciousFileNum, i.UnsafeSettingNum = "scanning", "", nil, nil, nil
		})
		// Several times, as what is pending is soon asked for again.
		asked := server.Stats().CountImage("prod", "nightly")
		eventually(t, func() error {
			s.admitted(t, s.try(t, newPod("again", image)))
			if server.Stats().CountImage("prod", "nightly") < asked+3 {
				return errNotYet
			}
			return nil
		})
		change(server, "nightly", func(i *hsstest.Image) { i.ScanStatus = "success"; high(i) })
		s.awaitDenial(t, image, "severity High")
	})
	t.Run("a tag that was pushed again isn't judged by the old scan", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		const image = "rescan.example.com/prod/moved:1"
		s.admitted(t, s.run(t, newPod("moved", image)))
		change(server, "moved", func(i *hsstest.Image) {
			i.ImageDigest, i.LatestUpdateTime, i.ScanStatus, i.SeverityLevel = digest("e"), time.Now(), "waiting_for_scan", ""
		})
		s.awaitDenial(t, image, "after its last scan")
	})
	t.Run("an image is let in once its first scan is done", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		const image = "rescan.example.com/prod/first:1"
		says(t, s.run(t, newPod("first", image)), "never scanned")
		change(server, "first", func(i *hsstest.Image) { *i = row("first") })
		eventually(t, func() error { return s.try(t, newPod("first", image)) })
	})
}

func unscanned(i *hsstest.Image) {
	i.ScanStatus, i.SeverityLevel, i.VulNum, i.UnsafeSettingNum, i.MaliciousFileNum = "unscan", "", nil, nil, nil
	i.LatestScanTime = time.Time{}
}

// awaitDenial waits until the image is denied, and checks why.
func (s *space) awaitDenial(t *testing.T, image, why string) {
	t.Helper()
	var err error
	eventually(t, func() error {
		if err = s.try(t, newPod("awaited", image)); err == nil {
			return errors.New("still admitted")
		}
		if !strings.Contains(err.Error(), why) {
			return err
		}
		return nil
	})
	says(t, err, `pod "awaited" denied by 1 policy:`, why)
}
