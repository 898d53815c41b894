// Plays beats from the hex file named by the plusarg +x, one beat a line with tlast above the data; for simulation only.
//
// Offers so many beats in all as the input allowed says, and nothing in random cycles: so many of 65536, the plusarg
// +x_idle. The output last_at is the cycle since the reset in which the last beat was taken.
module stream_source #(
    parameter DATA_BITS = 16
) (
    input clk,
    input rst,
    input [31:0] allowed,
    output [DATA_BITS-1:0] tdata,
    output tlast,
    output tvalid,
    input tready,
    output reg [31:0] last_at
);
    reg [4095:0] path;
    reg [31:0] idle, seed, taken, now;
    reg [DATA_BITS:0] beat, read;
    reg there, offered;
    integer file, found;
    initial begin
        if (!$value$plusargs("x=%s", path)) $fatal(1, "stream_source: +x=FILE is missing");
        file = $fopen(path, "r");
        if (!file) $fatal(1, "stream_source: +x=FILE is not readable");
        if (!$value$plusargs("x_idle=%d", idle)) idle = 0;
        if (!$value$plusargs("seed=%d", seed)) seed = 1;
    end

    wire pause;
    pauses #(.SALT(99)) of_x (.clk(clk), .rst(rst), .share(idle), .seed(seed), .pause(pause));
    assign tvalid = there && taken != allowed && (offered || !pause);
    assign {tlast, tdata} = beat;

    always @(posedge clk) begin
        offered <= !rst && tvalid && !tready;
        now <= rst ? 0 : now + 1;
        if (tvalid && tready) last_at <= now;
        taken <= rst ? 0 : taken + (tvalid && tready);
        if (rst) there <= 0;
        else if (!there || (tvalid && tready)) begin
            found = $fscanf(file, "%h", read);
            beat <= read;
            there <= found == 1;
        end
    end
endmodule
