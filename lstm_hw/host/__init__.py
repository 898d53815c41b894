"""What software does with an engine: firmware images, the host protocol, transports and the driver."""
