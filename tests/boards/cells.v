// Memories, multipliers, a carry chain and flip-flops with reset, enable and initial values, in the widest widths that
// block RAM has, and a bench that compares them with their netlist on random inputs.
module rtl (
    input clk, rst, we, re, input [9:0] wa, ra, input [35:0] wd, input [3:0] be, input [17:0] x, y,
    output [268:0] q
);
    reg [17:0] m18 [0:1023], mr [0:1023], rom [0:1023];
    reg [8:0] m9 [0:2047];
    reg [35:0] m36 [0:511];
    reg [3:0] lutm [0:15];
    reg [31:0] mbe [0:1023];
    reg [17:0] q18 = 0, qrom = 0, qrst = 0, count = 18'h2A5;
    reg [8:0] q9 = 0;
    reg [35:0] q36 = 0;
    reg [31:0] qbe = 0;
    integer i;
    initial begin
        for (i = 0; i < 1024; i = i + 1) begin
            rom[i] = 7 * i * i + i; m18[i] = 5 * i; mbe[i] = 77777 * i; mr[i] = i;
        end
        for (i = 0; i < 2048; i = i + 1) m9[i] = 3 * i;
        for (i = 0; i < 512; i = i + 1) m36[i] = 36'h123456789 * i;
        for (i = 0; i < 16; i = i + 1) lutm[i] = i;
    end
    always @(posedge clk) begin
        if (we) begin
            m18[wa] <= wd; m9[{wa, x[0]}] <= wd; m36[wa[8:0]] <= wd;
            lutm[wa[3:0]] <= wd; mr[wa] <= wd;
            count <= count + y;
            for (i = 0; i < 4; i = i + 1) if (be[i]) mbe[wa][8 * i +: 8] <= wd[8 * i +: 8];
        end
        if (re) begin
            q18 <= m18[ra]; q9 <= m9[{ra, y[0]}]; q36 <= m36[ra[8:0]];
            qbe <= mbe[ra]; qrom <= rom[ra]; qrst <= mr[ra];
        end
        if (rst) begin qrst <= 0; count <= 18'h2A5; end
    end
    wire signed [35:0] product = $signed(x) * $signed(y);
    wire [35:0] unsigned_product = x * y;
    wire [20:0] sum = x + y + wd[17:0];
    assign q = {sum, count, qrst, qrom, lutm[ra[3:0]], qbe, q36, q9, q18, product, unsigned_product, 23'h0};
endmodule

`ifndef SYNTHESIS
module bench;
    parameter CYCLES = 500;
    reg clk = 0, rst = 0, we = 0, re = 0;
    reg [9:0] wa = 0, ra = 0;
    reg [35:0] wd = 0;
    reg [3:0] be = 0;
    reg [17:0] x = 0, y = 0;
    wire [268:0] wanted, found;
    rtl rtl (clk, rst, we, re, wa, ra, wd, be, x, y, wanted);
    netlist netlist (clk, rst, we, re, wa, ra, wd, be, x, y, found);
    integer n, wrong = 0;
    task compare;
        if (wanted !== found) begin
            wrong = wrong + 1;
            if (wrong < 5) $display("cycle %0d: differs in %h", n, wanted ^ found);
        end
    endtask
    initial begin
        for (n = 0; n < CYCLES; n = n + 1) begin
            #5 wa = $random; ra = $random & 1 ? wa ^ ($random & 1) : $random;  // often the same word
            if (n & 1) {wa, ra} = {wa & 10'h7, ra & 10'h7};
            wd = {$random, $random}; {we, re, be} = $random; x = $random; y = $random; rst = ($random & 15) == 0;
            #1 compare;
            #4 clk = 1;
            #5 compare;
            clk = 0;
        end
        $display("%0d cycles, %0d wrong", CYCLES, wrong);
    end
endmodule
`endif
