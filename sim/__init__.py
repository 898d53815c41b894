"""Cocotb benches on the emitted Verilog, and the one runner that builds and runs them."""
