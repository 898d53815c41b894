// Pads of one direction, as what Verilator can drive: for `techmap` of Yosys.
module TRELLIS_IO (inout B, input I, input T, output O);
    parameter DIR = "INPUT";
    generate
        if (DIR == "INPUT") assign O = B;
        else if (DIR == "OUTPUT") assign B = I & ~T;
        else UNSUPPORTED_PAD pad ();
    endgenerate
endmodule
