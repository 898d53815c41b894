// Takes beats and writes them to the file named by the plusarg +y, a line "tlast data" in hex; for simulation only.
//
// It is not ready in random cycles: so many of 65536, the plusarg +y_stall. A beat that is withdrawn or changed before it
// was taken ends the simulation. The output last_at is the cycle since the reset in which the last beat was taken.
module stream_sink #(
    parameter DATA_BITS = 16
) (
    input clk,
    input rst,
    input [DATA_BITS-1:0] tdata,
    input tlast,
    input tvalid,
    output tready,
    output reg [31:0] count,
    output reg [31:0] last_at
);
    reg [4095:0] path;
    reg [31:0] stall, seed, now;
    integer file;
    initial begin
        if (!$value$plusargs("y=%s", path)) $fatal(1, "stream_sink: +y=FILE is missing");
        file = $fopen(path, "w");
        if (!file) $fatal(1, "stream_sink: +y=FILE cannot be written");
        if (!$value$plusargs("y_stall=%d", stall)) stall = 0;
        if (!$value$plusargs("seed=%d", seed)) seed = 1;
    end

    wire pause;
    pauses #(.SALT(77)) of_y (.clk(clk), .rst(rst), .share(stall), .seed(seed), .pause(pause));
    assign tready = !pause;

    reg offered;
    reg [DATA_BITS:0] earlier;

    always @(posedge clk) begin
        earlier <= {tlast, tdata};
        offered <= !rst && tvalid && !tready;
        now <= rst ? 0 : now + 1;
        if (rst) count <= 0;
        else begin
            if (offered && !(tvalid && earlier == {tlast, tdata}))
                $fatal(1, "stream_sink: a beat changed before it was taken");
            if (tvalid && tready) begin
                count <= count + 1;
                last_at <= now;
                $fwrite(file, "%b %h\n", tlast, tdata);
                $fflush(file);
            end
        end
    end
endmodule
