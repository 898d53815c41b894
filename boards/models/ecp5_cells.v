// Models of the ECP5's block RAM, multiplier and PLL, which Yosys has as black boxes; for the simulation of netlists.
// What is not modelled does not elaborate: an instance of a module called UNSUPPORTED_... names it.

// Block RAM of 1,024 x 18 bits with two ports (Lattice FPGA-TN-02204), without output registers. A port reads from an
// address that the other one writes in the same cycle: the data sheet promises nothing, so the bits come inverted.
module DP16KD (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter GSR = "ENABLED";
    parameter [319:0] INITVAL_00 = 320'h0;
    parameter [319:0] INITVAL_01 = 320'h0;
    parameter [319:0] INITVAL_02 = 320'h0;
    parameter [319:0] INITVAL_03 = 320'h0;
    parameter [319:0] INITVAL_04 = 320'h0;
    parameter [319:0] INITVAL_05 = 320'h0;
    parameter [319:0] INITVAL_06 = 320'h0;
    parameter [319:0] INITVAL_07 = 320'h0;
    parameter [319:0] INITVAL_08 = 320'h0;
    parameter [319:0] INITVAL_09 = 320'h0;
    parameter [319:0] INITVAL_0A = 320'h0;
    parameter [319:0] INITVAL_0B = 320'h0;
    parameter [319:0] INITVAL_0C = 320'h0;
    parameter [319:0] INITVAL_0D = 320'h0;
    parameter [319:0] INITVAL_0E = 320'h0;
    parameter [319:0] INITVAL_0F = 320'h0;
    parameter [319:0] INITVAL_10 = 320'h0;
    parameter [319:0] INITVAL_11 = 320'h0;
    parameter [319:0] INITVAL_12 = 320'h0;
    parameter [319:0] INITVAL_13 = 320'h0;
    parameter [319:0] INITVAL_14 = 320'h0;
    parameter [319:0] INITVAL_15 = 320'h0;
    parameter [319:0] INITVAL_16 = 320'h0;
    parameter [319:0] INITVAL_17 = 320'h0;
    parameter [319:0] INITVAL_18 = 320'h0;
    parameter [319:0] INITVAL_19 = 320'h0;
    parameter [319:0] INITVAL_1A = 320'h0;
    parameter [319:0] INITVAL_1B = 320'h0;
    parameter [319:0] INITVAL_1C = 320'h0;
    parameter [319:0] INITVAL_1D = 320'h0;
    parameter [319:0] INITVAL_1E = 320'h0;
    parameter [319:0] INITVAL_1F = 320'h0;
    parameter [319:0] INITVAL_20 = 320'h0;
    parameter [319:0] INITVAL_21 = 320'h0;
    parameter [319:0] INITVAL_22 = 320'h0;
    parameter [319:0] INITVAL_23 = 320'h0;
    parameter [319:0] INITVAL_24 = 320'h0;
    parameter [319:0] INITVAL_25 = 320'h0;
    parameter [319:0] INITVAL_26 = 320'h0;
    parameter [319:0] INITVAL_27 = 320'h0;
    parameter [319:0] INITVAL_28 = 320'h0;
    parameter [319:0] INITVAL_29 = 320'h0;
    parameter [319:0] INITVAL_2A = 320'h0;
    parameter [319:0] INITVAL_2B = 320'h0;
    parameter [319:0] INITVAL_2C = 320'h0;
    parameter [319:0] INITVAL_2D = 320'h0;
    parameter [319:0] INITVAL_2E = 320'h0;
    parameter [319:0] INITVAL_2F = 320'h0;
    parameter [319:0] INITVAL_30 = 320'h0;
    parameter [319:0] INITVAL_31 = 320'h0;
    parameter [319:0] INITVAL_32 = 320'h0;
    parameter [319:0] INITVAL_33 = 320'h0;
    parameter [319:0] INITVAL_34 = 320'h0;
    parameter [319:0] INITVAL_35 = 320'h0;
    parameter [319:0] INITVAL_36 = 320'h0;
    parameter [319:0] INITVAL_37 = 320'h0;
    parameter [319:0] INITVAL_38 = 320'h0;
    parameter [319:0] INITVAL_39 = 320'h0;
    parameter [319:0] INITVAL_3A = 320'h0;
    parameter [319:0] INITVAL_3B = 320'h0;
    parameter [319:0] INITVAL_3C = 320'h0;
    parameter [319:0] INITVAL_3D = 320'h0;
    parameter [319:0] INITVAL_3E = 320'h0;
    parameter [319:0] INITVAL_3F = 320'h0;

    generate
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG") UNSUPPORTED_REGMODE mode ();
        if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB") UNSUPPORTED_CLKMUX clock ();
    endgenerate

    localparam WIDE = DATA_WIDTH_A == 36;  // port A writes and port B reads, 36 bits at most
    localparam [20479:0] INITIAL = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };
    reg [17:0] mem [0:1023];
    integer row;
    initial for (row = 0; row < 1024; row = row + 1) mem[row] = INITIAL[20 * row +: 18];

    wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire ona = CEA & ~(CSA2 | CSA1 | CSA0);
    wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire onb = CEB & ~(CSB2 | CSB1 | CSB0);

    // The bits of a row that an access of a width means, and where in the row they begin.
    function [17:0] mask(input integer width, input [13:0] ad);
        case (width)
            1: mask = 18'h1;
            2: mask = 18'h3;
            4: mask = 18'hF;
            9: mask = 18'h1FF;
            default: mask = {{9{ad[1]}}, {9{ad[0]}}};  // byte enables are the low bits of the address
        endcase
    endfunction
    function [4:0] place(input integer width, input [13:0] ad);
        case (width)
            1: place = (ad[3] ? 5'd9 : 5'd0) + {2'd0, ad[2:0]};
            2: place = (ad[3] ? 5'd9 : 5'd0) + {2'd0, ad[2:1], 1'b0};
            4: place = (ad[3] ? 5'd9 : 5'd0) + {2'd0, ad[2], 2'b0};
            9: place = ad[3] ? 5'd9 : 5'd0;
            default: place = 5'd0;
        endcase
    endfunction

    wire [17:0] maska = mask(DATA_WIDTH_A, ada) << place(DATA_WIDTH_A, ada);
    wire [17:0] maskb = mask(DATA_WIDTH_B, adb) << place(DATA_WIDTH_B, adb);
    wire [17:0] newa = mem[ada[13:4]] & ~maska | (dia << place(DATA_WIDTH_A, ada)) & maska;
    wire [17:0] newb = mem[adb[13:4]] & ~maskb | (dib << place(DATA_WIDTH_B, adb)) & maskb;
    reg [17:0] doa = 18'h0, dob = 18'h0;
    wire clear_a = RESETMODE == "ASYNC" & RSTA, clear_b = RESETMODE == "ASYNC" & RSTB;
    generate
        if (WIDE) begin : wide
            wire [17:0] low = {{9{ada[1]}}, {9{ada[0]}}}, high = {{9{ada[3]}}, {9{ada[2]}}};
            wire [8:0] pair = ada[13:5];
            always @(posedge CLKA) if (ona & WEA) begin
                mem[{pair, 1'b0}] <= mem[{pair, 1'b0}] & ~low | dia & low;
                mem[{pair, 1'b1}] <= mem[{pair, 1'b1}] & ~high | dib & high;
            end
            wire meets = ona & WEA & pair == adb[13:5] & |ada[3:0];
            wire [17:0] upset = {18{meets}};
            always @(posedge CLKB, posedge clear_b)
                if (clear_b) {dob, doa} <= 36'h0;
                else if (RSTB) {dob, doa} <= 36'h0;
                else if (onb) begin
                    if (DATA_WIDTH_B == 36) begin
                        doa <= mem[{adb[13:5], 1'b0}] ^ upset;
                        dob <= mem[{adb[13:5], 1'b1}] ^ upset;
                    end else dob <= (mem[adb[13:4]] ^ upset) >> place(DATA_WIDTH_B, adb);
                end
        end else begin : two_ports
            wire meets = ada[13:4] == adb[13:4];
            wire [17:0] upseta = {18{meets & onb & WEB & ~RSTB}} & maskb;
            wire [17:0] upsetb = {18{meets & ona & WEA & ~RSTA}} & maska;
            always @(posedge CLKA, posedge clear_a)
                if (clear_a) doa <= 18'h0;
                else if (RSTA) doa <= 18'h0;
                else if (ona) begin
                    if (WEA) mem[ada[13:4]] <= newa;
                    if (~WEA | WRITEMODE_A == "READBEFOREWRITE")
                        doa <= (mem[ada[13:4]] ^ upseta) >> place(DATA_WIDTH_A, ada);
                    else if (WRITEMODE_A == "WRITETHROUGH") doa <= newa >> place(DATA_WIDTH_A, ada);
                end
            always @(posedge CLKB, posedge clear_b)
                if (clear_b) dob <= 18'h0;
                else if (RSTB) dob <= 18'h0;
                else if (onb) begin
                    if (WEB) mem[adb[13:4]] <= newb;
                    if (~WEB | WRITEMODE_B == "READBEFOREWRITE")
                        dob <= (mem[adb[13:4]] ^ upsetb) >> place(DATA_WIDTH_B, adb);
                    else if (WRITEMODE_B == "WRITETHROUGH") dob <= newb >> place(DATA_WIDTH_B, adb);
                end
        end
    endgenerate
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = doa;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = dob;
endmodule

// Multiplier of 18 x 18 bits (Lattice FPGA-TN-02205), without registers.
module MULT18X18D (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_INPUTC_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_OUTPUT_CLK = "NONE";
    generate
        if (REG_INPUTA_CLK != "NONE" || REG_INPUTB_CLK != "NONE" || REG_INPUTC_CLK != "NONE" || REG_PIPELINE_CLK != "NONE" || REG_OUTPUT_CLK != "NONE")
            UNSUPPORTED_REGISTER register ();
    endgenerate
    wire signed [18:0] a = {SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire signed [18:0] b = {SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire signed [37:0] product = a * b;
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = product[35:0];
endmodule

// PLL whose output CLKOP is its feedback (Lattice FPGA-TN-02200), without phase shift. It measures the input's period,
// and ends the simulation where its oscillator or phase detector would be out of range.
module EHXPLLL (
    input CLKI, CLKFB, PHASESEL1, PHASESEL0, PHASEDIR, PHASESTEP, PHASELOADREG, STDBY, PLLWAKESYNC, RST,
    input ENCLKOP, ENCLKOS, ENCLKOS2, ENCLKOS3,
    output reg CLKOP, output CLKOS, CLKOS2, CLKOS3, output reg LOCK, output INTLOCK, REFCLK, CLKINTFB
);
    parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 8, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0;
    parameter CLKOP_ENABLE = "ENABLED", CLKOS_ENABLE = "DISABLED", CLKOS2_ENABLE = "DISABLED", CLKOS3_ENABLE = "DISABLED";
    parameter FEEDBK_PATH = "CLKOP", PLLRST_ENA = "DISABLED", INTFB_WAKE = "DISABLED", STDBY_ENABLE = "DISABLED";
    parameter DPHASE_SOURCE = "DISABLED", OUTDIVIDER_MUXA = "DIVA", OUTDIVIDER_MUXB = "DIVB", OUTDIVIDER_MUXC = "DIVC";
    parameter OUTDIVIDER_MUXD = "DIVD";
    generate
        if (FEEDBK_PATH != "CLKOP" || CLKI_DIV != 1) UNSUPPORTED_FEEDBACK feedback ();
        if (CLKOP_ENABLE != "ENABLED" || CLKOS_ENABLE != "DISABLED" || CLKOS2_ENABLE != "DISABLED"
            || CLKOS3_ENABLE != "DISABLED" || PLLRST_ENA != "DISABLED" || STDBY_ENABLE != "DISABLED")
            UNSUPPORTED_OUTPUT outputs ();
    endgenerate
    assign {CLKOS, CLKOS2, CLKOS3, INTLOCK, REFCLK, CLKINTFB} = {5'b0, CLKI};

    localparam MEASURED = 4, LOCKED = 20;  // periods after which there is a clock, and after which it is locked
    realtime last = 0, period = 0;
    integer edges = 0, pulse;
    real oscillator_mhz;
    initial {CLKOP, LOCK} = 2'b00;
    always @(posedge CLKI) begin
        period = $realtime - last;
        last = $realtime;
        if (edges < LOCKED) edges = edges + 1;
        if (edges == MEASURED) begin
            oscillator_mhz = 1000.0 / period * CLKFB_DIV * CLKOP_DIV;
            if (oscillator_mhz < 400.0 || oscillator_mhz > 800.0) begin
                $display("error: the oscillator of the PLL is at %f MHz, must be at 400 to 800", oscillator_mhz);
                $finish;
            end
        end
        LOCK = edges == LOCKED;
        if (edges >= MEASURED)
            for (pulse = 0; pulse < CLKFB_DIV; pulse = pulse + 1) begin
                CLKOP = 1'b1;
                #(period / CLKFB_DIV / 2) CLKOP = 1'b0;
                if (pulse < CLKFB_DIV - 1) #(period / CLKFB_DIV / 2);
            end
    end
endmodule

// Clock of the flash that holds the bitstream: a pin of the FPGA that is none of the design's.
module USRMCLK (input USRMCLKI, input USRMCLKTS);
endmodule
