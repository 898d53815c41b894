// Takes every beat at once and writes it to the file named by the plusarg +y, a line "tlast data" in hex; for simulation only.
module stream_sink #(
    parameter DATA_BITS = 16
) (
    input clk,
    input rst,
    input [DATA_BITS-1:0] tdata,
    input tlast,
    input tvalid,
    output tready,
    output reg [31:0] count
);
    reg [4095:0] path;
    integer file;
    initial begin
        if (!$value$plusargs("y=%s", path)) $fatal(1, "stream_sink: +y=FILE is missing");
        file = $fopen(path, "w");
    end

    assign tready = 1'b1;

    always @(posedge clk) begin
        if (rst) count <= 0;
        else if (tvalid) begin
            count <= count + 1;
            $fwrite(file, "%b %h\n", tlast, tdata);
            $fflush(file);
        end
    end
endmodule
