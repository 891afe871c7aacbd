package hsstest

import (
	"cmp"
	"net/http"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// faultOf makes the fault that an inventory file describes.
func faultOf(f *inventoryfile.Fault) Fault {
	made := kindOfFault(f)
	if f.Times != nil {
		made = made.Times(*f.Times)
	}
	if f.Namespace != "" || f.ImageName != "" {
		made = made.ForImage(f.Namespace, f.ImageName)
	}
	if f.Endpoint != "" {
		made = made.ForEndpoint(Endpoint(f.Endpoint))
	}
	return made
}

func kindOfFault(f *inventoryfile.Fault) Fault {
	switch f.Kind {
	case "cut":
		return CutFault()
	case "empty":
		return EmptyFault()
	case "garbage":
		return GarbageFault()
	case "hang":
		return HangFault()
	case "no_data_list":
		return NoDataListFault()
	case "reset":
		return ResetFault()
	case "error":
		return ErrorFault(cmp.Or(f.Status, http.StatusOK), "HSS.0011", "Not found.")
	case "html":
		return HTMLFault(cmp.Or(f.Status, http.StatusBadGateway))
	case "huge":
		return HugeFault(cmp.Or(f.Bytes, 1<<30))
	case "slow":
		return SlowFault(int(cmp.Or(f.Bytes, 1)), cmp.Or(f.Pause, 100*time.Millisecond))
	case "status":
		return StatusFault(cmp.Or(f.Status, http.StatusServiceUnavailable))
	case "throttle":
		return ThrottleFault(f.RetryAfter)
	}
	panic("hsstest: no fault of kind " + f.Kind)
}
