"""The labels of a worker: in memory, on the device, or streamed."""
