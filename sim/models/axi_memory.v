// A read-only AXI4 memory with a fixed latency and bandwidth, for simulation only.
//
// Takes a request in every cycle. The first beat of a burst is offered LATENCY cycles after the handshake of its request,
// or INTERVAL cycles after the last beat of the burst before, whichever is later; then a beat every INTERVAL cycles.
// The image is read from the hex file named by the plusarg +image, one beat a line; it starts at address BASE. The file
// named by +parts gives each beat a number from 0 to 3; beats that the master has taken are counted by number.
module axi_memory #(
    parameter DATA_BITS = 64,
    parameter ADDRESS_BITS = 40,
    parameter BEATS = 1024,
    parameter BASE = 0,
    parameter LATENCY = 30,
    parameter INTERVAL = 1
) (
    input clk,
    input rst,
    input [ADDRESS_BITS-1:0] araddr,
    input [7:0] arlen,
    input arvalid,
    output arready,
    output [DATA_BITS-1:0] rdata,
    output [1:0] rresp,
    output rlast,
    output rvalid,
    input rready,
    output reg [31:0] taken_0,
    output reg [31:0] taken_1,
    output reg [31:0] taken_2,
    output reg [31:0] taken_3
);
    localparam SHIFT = $clog2(DATA_BITS / 8);
    localparam QUEUE = 128;

    reg [DATA_BITS-1:0] image [0:BEATS-1];
    reg [1:0] parts [0:BEATS-1];
    reg [4095:0] path;
    initial begin
        if (!$value$plusargs("image=%s", path)) $fatal(1, "axi_memory: +image=FILE is missing");
        $readmemh(path, image);
        if (!$value$plusargs("parts=%s", path)) $fatal(1, "axi_memory: +parts=FILE is missing");
        $readmemh(path, parts);
    end

    reg [63:0] now;
    reg [31:0] queue_beat [0:QUEUE-1];
    reg [8:0] queue_left [0:QUEUE-1];
    reg [63:0] queue_time [0:QUEUE-1];
    reg [6:0] head, tail;
    reg [63:0] free;      // first cycle in which the next beat may be offered

    wire waiting = head != tail;
    wire [63:0] earliest = queue_time[head] > free ? queue_time[head] : free;

    assign arready = 1'b1;
    assign rvalid = waiting && now >= earliest;
    assign rdata = image[queue_beat[head]];
    assign rlast = queue_left[head] == 1;
    assign rresp = 2'b00;

    always @(posedge clk) begin
        now <= now + 1;
        if (rst) begin
            now <= 0;
            head <= 0;
            tail <= 0;
            free <= 0;
            taken_0 <= 0;
            taken_1 <= 0;
            taken_2 <= 0;
            taken_3 <= 0;
        end else begin
            if (arvalid) begin
                queue_beat[tail] <= (araddr - BASE) >> SHIFT;
                queue_left[tail] <= {1'b0, arlen} + 9'd1;
                queue_time[tail] <= now + LATENCY;
                tail <= tail + 1;
            end
            if (rvalid && rready) begin
                free <= now + INTERVAL;
                queue_beat[head] <= queue_beat[head] + 1;
                queue_left[head] <= queue_left[head] - 1;
                if (rlast) head <= head + 1;
                case (parts[queue_beat[head]])
                    0: taken_0 <= taken_0 + 1;
                    1: taken_1 <= taken_1 + 1;
                    2: taken_2 <= taken_2 + 1;
                    3: taken_3 <= taken_3 + 1;
                endcase
            end
        end
    end
endmodule
