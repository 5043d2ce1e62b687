"""Where bytes are duplicated: the pump, the spill log, the fan-out worker, and FIFOs for outside programs."""
