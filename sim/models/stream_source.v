// Plays beats from the hex file named by the plusarg +x, one beat a line with tlast above the data; for simulation only.
module stream_source #(
    parameter DATA_BITS = 16,
    parameter BEATS = 1024
) (
    input clk,
    input rst,
    output [DATA_BITS-1:0] tdata,
    output tlast,
    output tvalid,
    input tready
);
    reg [DATA_BITS:0] beats [0:BEATS-1];
    reg [4095:0] path;
    reg [31:0] next;
    initial begin
        if (!$value$plusargs("x=%s", path)) $fatal(1, "stream_source: +x=FILE is missing");
        $readmemh(path, beats);
    end

    assign tvalid = next < BEATS;
    assign {tlast, tdata} = beats[next < BEATS ? next : 0];

    always @(posedge clk) begin
        if (rst) next <= 0;
        else if (tvalid && tready) next <= next + 1;
    end
endmodule
