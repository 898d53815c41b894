// A read-only AXI4 memory with a fixed latency and bandwidth, for simulation only.
//
// Takes a request in every cycle. The first beat of a burst is offered so many cycles (latency) after the handshake of its
// request, or so many (interval) after the last beat of the burst before, whichever is later; then a beat every interval.
// With a stall both channels pause in random cycles: so many of 65536. The image, a beat a line, starts at address BASE.
// The file named by parts gives each beat a number from 0 to 3; beats that the master has taken are counted by number.
// What a master may not do ends the simulation: withdrawn or changed requests, bursts across 4 KiB or outside the image.
module axi_memory #(
    parameter DATA_BITS = 64,
    parameter ADDRESS_BITS = 40,
    parameter BEATS = 1024,
    parameter [63:0] BASE = 0,
    parameter PORT = 0
) (
    input clk,
    input rst,
    input [ADDRESS_BITS-1:0] araddr,
    input [7:0] arlen,
    input [2:0] arsize,
    input [1:0] arburst,
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
    reg [31:0] latency, interval, stall, more, seed, beats;
    initial begin
        case (PORT)
            0: if (!$value$plusargs("image0=%s", path)) $fatal(1, "axi_memory: +image0=FILE is missing");
            1: if (!$value$plusargs("image1=%s", path)) $fatal(1, "axi_memory: +image1=FILE is missing");
            2: if (!$value$plusargs("image2=%s", path)) $fatal(1, "axi_memory: +image2=FILE is missing");
            3: if (!$value$plusargs("image3=%s", path)) $fatal(1, "axi_memory: +image3=FILE is missing");
        endcase
        $readmemh(path, image);
        if (!$value$plusargs("parts=%s", path)) $fatal(1, "axi_memory: +parts=FILE is missing");
        $readmemh(path, parts);
        if (!$value$plusargs("latency=%d", latency)) latency = 1;
        if (!$value$plusargs("interval=%d", interval)) interval = 1;
        if (!$value$plusargs("memory_stall=%d", stall)) stall = 0;
        if (!$value$plusargs("memory_latency=%d", more)) more = 0;
        latency = latency + (PORT + 1) * more; // every port another one
        if (!$value$plusargs("beats=%d", beats)) beats = BEATS;
        if (!$value$plusargs("seed=%d", seed)) seed = 1;
    end

    wire pause_ar, pause_r;
    pauses #(.SALT(2 * PORT + 1)) of_ar (.clk(clk), .rst(rst), .share(stall), .seed(seed), .pause(pause_ar));
    pauses #(.SALT(2 * PORT + 2)) of_r (.clk(clk), .rst(rst), .share(stall), .seed(seed), .pause(pause_r));

    reg [63:0] now;
    reg [31:0] queue_beat [0:QUEUE-1];
    reg [8:0] queue_left [0:QUEUE-1];
    reg [63:0] queue_time [0:QUEUE-1];
    reg [6:0] head, tail;
    reg [63:0] free;      // first cycle in which the next beat may be offered
    reg held;             // a beat is offered and has not been taken

    wire [6:0] behind = tail + 7'd1;
    wire waiting = head != tail;
    wire [63:0] earliest = queue_time[head] > free ? queue_time[head] : free;

    assign arready = behind != head && !pause_ar;
    assign rvalid = waiting && now >= earliest && (held || !pause_r);
    assign rdata = image[queue_beat[head]];
    assign rlast = queue_left[head] == 1;
    assign rresp = 2'b00;

    wire [63:0] offset = araddr - BASE;
    wire [63:0] bytes = ({56'd0, arlen} + 64'd1) << SHIFT;
    reg asked;            // a request is offered and has not been taken
    reg [ADDRESS_BITS+12:0] request;

    always @(posedge clk) begin
        now <= now + 1;
        if (rst) begin
            now <= 0;
            head <= 0;
            tail <= 0;
            free <= 0;
            held <= 0;
            asked <= 0;
            taken_0 <= 0;
            taken_1 <= 0;
            taken_2 <= 0;
            taken_3 <= 0;
        end else begin
            held <= rvalid && !rready;
            asked <= arvalid && !arready;
            request <= {araddr, arlen, arsize, arburst};
            if (asked && !(arvalid && request == {araddr, arlen, arsize, arburst}))
                $fatal(1, "axi_memory %0d: request changed before it was taken", PORT);
            if (arvalid && arready) begin
                if (arsize != SHIFT || arburst != 2'b01) $fatal(1, "axi_memory %0d: not whole beats in a row", PORT);
                if ({52'd0, araddr[11:0]} + bytes > 4096) $fatal(1, "axi_memory %0d: burst across 4 KiB", PORT);
                if (araddr < BASE || offset + bytes > {32'd0, beats} << SHIFT)
                    $fatal(1, "axi_memory %0d: burst at %h outside the image", PORT, araddr);
                queue_beat[tail] <= offset >> SHIFT;
                queue_left[tail] <= {1'b0, arlen} + 9'd1;
                queue_time[tail] <= now + latency;
                tail <= behind;
            end
            if (rvalid && rready) begin
                free <= now + interval;
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
