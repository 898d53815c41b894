// The engine between Verilog models of memory and streams, for simulations that are too long to drive every cycle from
// Python. cocotb keeps the register port, the clock and the reset. For simulation only.
module scale_top #(
    parameter DATA_BITS = 128,
    parameter ADDRESS_BITS = 40,
    parameter X_BITS = 16,
    parameter IMAGE_BEATS = 1024,
    parameter X_BEATS = 1024,
    parameter BASE = 65536,
    parameter LATENCY = 30,
    parameter INTERVAL = 1
) (
    input aclk,
    input aresetn,
    output interrupt,
    output [31:0] outputs,
    output [31:0] taken_0,
    output [31:0] taken_1,
    output [31:0] taken_2,
    output [31:0] taken_3,
    input [13:0] s_axi_ctrl_awaddr,
    input [2:0] s_axi_ctrl_awprot,
    input s_axi_ctrl_awvalid,
    output s_axi_ctrl_awready,
    input [31:0] s_axi_ctrl_wdata,
    input [3:0] s_axi_ctrl_wstrb,
    input s_axi_ctrl_wvalid,
    output s_axi_ctrl_wready,
    output [1:0] s_axi_ctrl_bresp,
    output s_axi_ctrl_bvalid,
    input s_axi_ctrl_bready,
    input [13:0] s_axi_ctrl_araddr,
    input [2:0] s_axi_ctrl_arprot,
    input s_axi_ctrl_arvalid,
    output s_axi_ctrl_arready,
    output [31:0] s_axi_ctrl_rdata,
    output [1:0] s_axi_ctrl_rresp,
    output s_axi_ctrl_rvalid,
    input s_axi_ctrl_rready
);
    wire [ADDRESS_BITS-1:0] araddr;
    wire [7:0] arlen;
    wire arvalid, arready, rlast, rvalid, rready;
    wire [DATA_BITS-1:0] rdata;
    wire [1:0] rresp;
    wire [X_BITS-1:0] x_data;
    wire x_last, x_valid, x_ready;
    wire [15:0] y_data;
    wire y_last, y_valid, y_ready;

    lstm_engine engine (
        .aclk(aclk), .aresetn(aresetn), .interrupt(interrupt),
        .s_axi_ctrl_awaddr(s_axi_ctrl_awaddr), .s_axi_ctrl_awprot(s_axi_ctrl_awprot),
        .s_axi_ctrl_awvalid(s_axi_ctrl_awvalid), .s_axi_ctrl_awready(s_axi_ctrl_awready),
        .s_axi_ctrl_wdata(s_axi_ctrl_wdata), .s_axi_ctrl_wstrb(s_axi_ctrl_wstrb),
        .s_axi_ctrl_wvalid(s_axi_ctrl_wvalid), .s_axi_ctrl_wready(s_axi_ctrl_wready),
        .s_axi_ctrl_bresp(s_axi_ctrl_bresp), .s_axi_ctrl_bvalid(s_axi_ctrl_bvalid),
        .s_axi_ctrl_bready(s_axi_ctrl_bready),
        .s_axi_ctrl_araddr(s_axi_ctrl_araddr), .s_axi_ctrl_arprot(s_axi_ctrl_arprot),
        .s_axi_ctrl_arvalid(s_axi_ctrl_arvalid), .s_axi_ctrl_arready(s_axi_ctrl_arready),
        .s_axi_ctrl_rdata(s_axi_ctrl_rdata), .s_axi_ctrl_rresp(s_axi_ctrl_rresp),
        .s_axi_ctrl_rvalid(s_axi_ctrl_rvalid), .s_axi_ctrl_rready(s_axi_ctrl_rready),
        .m_axi_weights_arid(), .m_axi_weights_araddr(araddr), .m_axi_weights_arlen(arlen), .m_axi_weights_arsize(),
        .m_axi_weights_arburst(), .m_axi_weights_arlock(), .m_axi_weights_arcache(), .m_axi_weights_arprot(),
        .m_axi_weights_arqos(), .m_axi_weights_arvalid(arvalid), .m_axi_weights_arready(arready),
        .m_axi_weights_rid(1'b0), .m_axi_weights_rdata(rdata), .m_axi_weights_rresp(rresp),
        .m_axi_weights_rlast(rlast), .m_axi_weights_rvalid(rvalid), .m_axi_weights_rready(rready),
        .s_axis_x_tdata(x_data), .s_axis_x_tvalid(x_valid), .s_axis_x_tready(x_ready), .s_axis_x_tlast(x_last),
        .m_axis_y_tdata(y_data), .m_axis_y_tvalid(y_valid), .m_axis_y_tready(y_ready), .m_axis_y_tlast(y_last)
    );

    axi_memory #(
        .DATA_BITS(DATA_BITS), .ADDRESS_BITS(ADDRESS_BITS), .BEATS(IMAGE_BEATS), .BASE(BASE), .LATENCY(LATENCY),
        .INTERVAL(INTERVAL)
    ) memory (
        .clk(aclk), .rst(~aresetn), .araddr(araddr), .arlen(arlen), .arvalid(arvalid), .arready(arready),
        .rdata(rdata), .rresp(rresp), .rlast(rlast), .rvalid(rvalid), .rready(rready),
        .taken_0(taken_0), .taken_1(taken_1), .taken_2(taken_2), .taken_3(taken_3)
    );

    stream_source #(.DATA_BITS(X_BITS), .BEATS(X_BEATS)) source (
        .clk(aclk), .rst(~aresetn), .tdata(x_data), .tlast(x_last), .tvalid(x_valid), .tready(x_ready)
    );

    stream_sink #(.DATA_BITS(16)) sink (
        .clk(aclk), .rst(~aresetn), .tdata(y_data), .tlast(y_last), .tvalid(y_valid), .tready(y_ready), .count(outputs)
    );
endmodule
