package controller

// HintUnproven is Hint of somebody whose address nothing proves.
func (c *Controller) HintUnproven(hostname string) { c.Hint(hostname) }
