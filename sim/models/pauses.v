// High in a random share of the cycles: so many of 65536; for simulation only.
module pauses #(
    parameter SALT = 1
) (
    input clk,
    input rst,
    input [31:0] share,
    input [31:0] seed,
    output pause
);
    reg [31:0] state;
    wire [31:0] a = state ^ (state << 13);
    wire [31:0] b = a ^ (a >> 17);

    assign pause = {16'd0, state[31:16]} < share;

    always @(posedge clk)
        if (rst) state <= (seed * 32'd2654435761 ^ SALT * 32'd40503) | 32'd1;
        else state <= b ^ (b << 5);
endmodule
