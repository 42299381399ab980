package hosts

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Conditions holds the status of all conditions of a record, two bits each.
type Conditions uint16

// maxConditions is how many have room in Conditions.
const maxConditions = 8

// conditionTypes in the order of their bits.
var conditionTypes = v1alpha3.ConditionTypes()

// statuses by their two bits; 0 is a condition that the record does not have.
var statuses = [...]metav1.ConditionStatus{
	"", metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown,
}

// conditionsOf packs the conditions of a status. Types that are not known are
// left out; a status that is not known counts as Unknown.
func conditionsOf(conditions []metav1.Condition) Conditions {
	var packed Conditions
	for i := range conditions {
		packed = packed.with(conditions[i].Type, conditions[i].Status)
	}
	return packed
}

func (c Conditions) with(conditionType string, status metav1.ConditionStatus) Conditions {
	for i, t := range conditionTypes {
		if t == conditionType {
			return c&^(3<<(2*i)) | statusBits(status)<<(2*i)
		}
	}
	return c
}

func statusBits(status metav1.ConditionStatus) Conditions {
	switch status {
	case "":
		return 0
	case metav1.ConditionTrue:
		return 1
	case metav1.ConditionFalse:
		return 2
	default:
		return 3
	}
}

// Status returns the status of a condition, empty if the record does not have it.
func (c Conditions) Status(conditionType string) metav1.ConditionStatus {
	for i, t := range conditionTypes {
		if t == conditionType {
			return statuses[c>>(2*i)&3]
		}
	}
	return ""
}

// isTrue reports whether a condition is True.
func (c Conditions) isTrue(conditionType string) bool {
	return c.Status(conditionType) == metav1.ConditionTrue
}
