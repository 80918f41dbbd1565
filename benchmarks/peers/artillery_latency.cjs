// What an Artillery user writes to measure pushed messages: a histogram entry of the time since each message's stamp.
const POSITION_UPDATE = 2;
const STAMP_FROM_END = 12;

module.exports = {
  listen(context, events, done) {
    context.ws.on("message", (data) => {
      if (data[1] === POSITION_UPDATE) {
        const stampUs = Number(data.readBigUInt64LE(data.length - STAMP_FROM_END));
        events.emit("histogram", "latency_ms", performance.timeOrigin + performance.now() - stampUs / 1000);
      }
    });
    done();
  },
};
