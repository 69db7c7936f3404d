package conformance;

import static conformance.Options.named;
import static conformance.Options.only;
import static conformance.Options.required;
import static conformance.Options.text;
import static conformance.Options.texts;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Aggregator;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.BranchedKStream;
import org.apache.kafka.streams.kstream.CogroupedKStream;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.Initializer;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KGroupedTable;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.KeyValueMapper;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Merger;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Predicate;
import org.apache.kafka.streams.kstream.Reducer;
import org.apache.kafka.streams.kstream.SessionWindowedCogroupedKStream;
import org.apache.kafka.streams.kstream.SessionWindowedKStream;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.TimeWindowedCogroupedKStream;
import org.apache.kafka.streams.kstream.TimeWindowedKStream;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.UnlimitedWindows;
import org.apache.kafka.streams.kstream.ValueJoinerWithKey;
import org.apache.kafka.streams.kstream.ValueMapperWithKey;
import org.apache.kafka.streams.kstream.ValueTransformerWithKeySupplier;
import org.apache.kafka.streams.processor.TopicNameExtractor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorSupplier;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;

/** Calls the DSL as the steps of a topology say. What a step returns gets the name in "as". */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Interpreter {
    private final StreamsBuilder builder;
    private final Map<String, Handle> handles = new HashMap<>();
    private final List<JsonNode> readOnlyStores = new ArrayList<>();

    Interpreter(final StreamsBuilder builder) {
        this.builder = builder;
    }

    void build(final JsonNode steps) {
        steps.forEach(this::step);
    }

    /** What the DSL does not offer, and the topology does. */
    void complete(final Topology topology) {
        for (final JsonNode step : readOnlyStores) {
            final String[] stores = {required(step.get("store"), "name")};
            topology.addReadOnlyStateStore(
                Options.store(step.get("store")), required(step, "source"), new StringDeserializer(), new StringDeserializer(),
                required(step, "topic"), required(step, "name"), (ProcessorSupplier) () -> Processors.processor(required(step, "processor"), stores));
            topology.connectProcessorAndStateStores(required(step, "reader"), stores);
        }
    }

    private Handle handle(final String name) {
        final Handle handle = handles.get(name);
        if (handle == null) {
            throw new IllegalArgumentException("nothing is named '" + name + "' before this step");
        }
        return handle;
    }

    private void step(final JsonNode step) {
        final Handle result = result(step);
        final String as = text(step, "as");
        if (as != null) {
            if (result == null) {
                throw new IllegalArgumentException("this returns nothing that could be named: " + step);
            }
            handles.put(as, result);
        }
    }

    private Handle result(final JsonNode step) {
        final String op = required(step, "op");
        switch (op) {
            case "stream": case "table": case "global_table": case "add_store": case "add_global_store": case "read_only_store":
                return source(op, step);
            default:
        }
        final Handle of = handle(required(step, "of"));
        if (of.it() instanceof KStream) {
            return ofStream(op, step, of, (KStream) of.it());
        } else if (of.it() instanceof KTable) {
            return ofTable(op, step, of, (KTable) of.it());
        }
        return ofGroups(op, step, of);
    }

    private static IllegalArgumentException noSuch(final String op, final Handle of) {
        return new IllegalArgumentException("there is no '" + op + "' of a " + of.it().getClass().getSimpleName());
    }

    private Handle source(final String op, final JsonNode step) {
        final boolean isLong = "long".equals(text(step, "value"));
        final Serde<?> value = isLong ? Serdes.Long() : Serdes.String();
        switch (op) {
            case "stream": {
                only(step, "op", "as", "topic", "topics", "pattern", "value", "consumed");
                final Consumed consumed = Options.consumed(step, isLong);
                final KStream stream = step.has("pattern")
                    ? builder.stream(Pattern.compile(required(step, "pattern")), consumed)
                    : step.has("topics") ? builder.stream(texts(step, "topics"), consumed) : builder.stream(required(step, "topic"), consumed);
                return new Handle(stream, Handle.Keys.TEXT, isLong);
            }
            case "table": {
                only(step, "op", "as", "topic", "value", "consumed", "materialized");
                final Consumed consumed = Options.consumed(step, isLong);
                final Materialized materialized = Options.materialized(step, Options.StoreKind.KEY_VALUE, Serdes.String(), value);
                final KTable table = materialized == null
                    ? builder.table(required(step, "topic"), consumed)
                    : builder.table(required(step, "topic"), consumed, materialized);
                return new Handle(table, Handle.Keys.TEXT, isLong);
            }
            case "global_table": {
                only(step, "op", "as", "topic", "value", "consumed", "materialized");
                final Consumed consumed = Options.consumed(step, isLong);
                final Materialized materialized = Options.materialized(step, Options.StoreKind.KEY_VALUE, Serdes.String(), value);
                final GlobalKTable table = materialized == null
                    ? builder.globalTable(required(step, "topic"), consumed)
                    : builder.globalTable(required(step, "topic"), consumed, materialized);
                return new Handle(table, Handle.Keys.TEXT, isLong);
            }
            case "add_store":
                only(step, "op", "store");
                builder.addStateStore(Options.store(step.get("store")));
                return null;
            case "add_global_store": {
                only(step, "op", "store", "topic", "processor", "consumed");
                final String[] stores = {required(step.get("store"), "name")};
                builder.addGlobalStore(Options.store(step.get("store")), required(step, "topic"), Options.consumed(step, false),
                    (ProcessorSupplier) () -> Processors.processor(required(step, "processor"), stores));
                return null;
            }
            default:
                only(step, "op", "store", "topic", "processor", "source", "name", "reader");
                readOnlyStores.add(step);
                return null;
        }
    }

    private static Predicate predicate(final JsonNode step) {
        final Functions.Predicate predicate = Functions.predicate(required(step, "fn"));
        return predicate::test;
    }

    private static ValueMapperWithKey mapper(final JsonNode step) {
        final Functions.Mapper mapper = Functions.mapper(required(step, "fn"));
        return mapper::apply;
    }

    private static KeyValueMapper selector(final JsonNode step, final String field) {
        final Functions.Mapper mapper = Functions.mapper(required(step, field));
        return mapper::apply;
    }

    /** Of {@code key_fn} and {@code value_fn}. */
    private static KeyValueMapper pairs(final JsonNode step) {
        final Functions.Mapper keys = Functions.mapper(required(step, "key_fn"));
        final Functions.Mapper values = Functions.mapper(required(step, "value_fn"));
        return (key, value) -> KeyValue.pair(keys.apply(key, value), values.apply(key, value));
    }

    private static ValueJoinerWithKey joiner(final JsonNode step) {
        final Functions.Joiner joiner = Functions.joiner(required(step, "fn"));
        return joiner::apply;
    }

    private static Initializer initializer(final JsonNode step) {
        final Object initial = Functions.initial(required(step, "init"));
        return () -> initial;
    }

    private static Aggregator aggregator(final JsonNode step, final String field) {
        final Functions.Joiner aggregator = Functions.aggregator(required(step, field));
        return aggregator::apply;
    }

    private static Reducer reducer(final JsonNode step, final String field) {
        final Functions.Joiner reducer = Functions.reducer(required(step, field));
        return (before, value) -> reducer.apply(null, before, value);
    }

    private static Merger merger(final JsonNode step) {
        final Functions.Joiner merger = Functions.merger(required(step, "merger"));
        return merger::apply;
    }

    private static TopicNameExtractor topicExtractor(final String name) {
        final String argument = name.substring(name.indexOf(':') + 1);
        if (name.startsWith("key:")) {
            return (key, value, context) -> argument + key;
        } else if (name.startsWith("value:")) {
            return (key, value, context) -> argument + value;
        } else if (name.startsWith("topic:")) {
            return (key, value, context) -> argument + context.topic();
        } else if (name.startsWith("header:")) {
            return (key, value, context) -> {
                final var header = context.headers().lastHeader(argument);
                return header == null ? "none" : new String(header.value());
            };
        }
        throw Functions.unknown("topic extractor", name);
    }

    private static KStream maybe(final Named named, final java.util.function.Supplier<KStream> without, final java.util.function.Function<Named, KStream> with) {
        return named == null ? without.get() : with.apply(named);
    }

    private Handle ofStream(final String op, final JsonNode step, final Handle of, final KStream s) {
        final Named named = named(step);
        switch (op) {
            case "filter":
                only(step, "op", "of", "as", "name", "fn");
                return of.with(maybe(named, () -> s.filter(predicate(step)), n -> s.filter(predicate(step), n)));
            case "filter_not":
                only(step, "op", "of", "as", "name", "fn");
                return of.with(maybe(named, () -> s.filterNot(predicate(step)), n -> s.filterNot(predicate(step), n)));
            case "map":
                only(step, "op", "of", "as", "name", "key_fn", "value_fn");
                return new Handle(maybe(named, () -> s.map(pairs(step)), n -> s.map(pairs(step), n)), Handle.Keys.TEXT, false);
            case "map_values":
                only(step, "op", "of", "as", "name", "fn");
                return of.texts(maybe(named, () -> s.mapValues(mapper(step)), n -> s.mapValues(mapper(step), n)));
            case "flat_map": {
                only(step, "op", "of", "as", "name", "key_fn", "values_fn");
                final Functions.Mapper keys = Functions.mapper(required(step, "key_fn"));
                final Functions.FlatMapper values = Functions.flatMapper(required(step, "values_fn"));
                final KeyValueMapper mapper = (key, value) -> {
                    final List<KeyValue> pairs = new ArrayList<>();
                    values.apply(key, value).forEach(each -> pairs.add(KeyValue.pair(keys.apply(key, each), each)));
                    return pairs;
                };
                return new Handle(maybe(named, () -> s.flatMap(mapper), n -> s.flatMap(mapper, n)), Handle.Keys.TEXT, false);
            }
            case "flat_map_values": {
                only(step, "op", "of", "as", "name", "values_fn");
                final Functions.FlatMapper values = Functions.flatMapper(required(step, "values_fn"));
                final ValueMapperWithKey mapper = values::apply;
                return of.texts(maybe(named, () -> s.flatMapValues(mapper), n -> s.flatMapValues(mapper, n)));
            }
            case "select_key":
                only(step, "op", "of", "as", "name", "fn");
                return of.keyed(maybe(named, () -> s.selectKey(selector(step, "fn")), n -> s.selectKey(selector(step, "fn"), n)), Handle.Keys.TEXT);
            case "peek":
                only(step, "op", "of", "as", "name");
                return of.with(maybe(named, () -> s.peek((key, value) -> { }), n -> s.peek((key, value) -> { }, n)));
            case "for_each":
                only(step, "op", "of", "name");
                if (named == null) {
                    s.foreach((key, value) -> { });
                } else {
                    s.foreach((key, value) -> { }, named);
                }
                return null;
            case "merge": {
                only(step, "op", "of", "with", "as", "name");
                final KStream other = (KStream) handle(required(step, "with")).it();
                return of.with(maybe(named, () -> s.merge(other), n -> s.merge(other, n)));
            }
            case "split":
                only(step, "op", "of", "name", "branches", "default");
                return split(step, of, named == null ? s.split() : s.split(named));
            case "to":
                only(step, "op", "of", "topic", "produced");
                s.to(required(step, "topic"), Options.produced(step, of));
                return null;
            case "to_extracted":
                only(step, "op", "of", "extractor", "produced");
                s.to(topicExtractor(required(step, "extractor")), Options.produced(step, of));
                return null;
            case "repartition":
                only(step, "op", "of", "as", "repartitioned");
                return of.with(s.repartition(Options.repartitioned(step, of)));
            case "to_table": {
                only(step, "op", "of", "as", "name", "materialized");
                final Materialized m = Options.materialized(step, Options.StoreKind.KEY_VALUE, of.keySerde(), of.valueSerde());
                return of.with(m == null
                    ? (named == null ? s.toTable() : s.toTable(named))
                    : named == null ? s.toTable(m) : s.toTable(named, m));
            }
            case "group_by_key":
                only(step, "op", "of", "as", "grouped");
                return of.with(s.groupByKey(Options.grouped(step, of.keySerde(), of.valueSerde())));
            case "group_by":
                only(step, "op", "of", "as", "fn", "grouped");
                return of.keyed(s.groupBy(selector(step, "fn"), Options.grouped(step, (Serde) Serdes.String(), of.valueSerde())), Handle.Keys.TEXT);
            case "process": case "process_values":
                only(step, "op", "of", "as", "name", "processor", "stores");
                return process(op, step, of, s, named);
            case "join": case "left_join": case "outer_join":
                return streamJoin(op, step, of, s, named);
            default:
                throw noSuch(op, of);
        }
    }

    private Handle split(final JsonNode step, final Handle of, final BranchedKStream start) {
        BranchedKStream branches = start;
        for (final JsonNode branch : step.get("branches")) {
            only(branch, "fn", "name", "as");
            branches = branches.branch(predicate(branch), branched(branch, of));
        }
        if (step.hasNonNull("default")) {
            only(step.get("default"), "name", "as");
            branches.defaultBranch(branched(step.get("default"), of));
        } else {
            branches.noDefaultBranch();
        }
        return null;
    }

    private Branched branched(final JsonNode branch, final Handle of) {
        final java.util.function.Consumer<KStream> take = stream -> {
            if (text(branch, "as") != null) {
                handles.put(text(branch, "as"), of.with(stream));
            }
        };
        final String name = text(branch, "name");
        return name == null ? Branched.withConsumer((java.util.function.Consumer) take) : Branched.withConsumer((java.util.function.Consumer) take, name);
    }

    private static Handle process(final String op, final JsonNode step, final Handle of, final KStream s, final Named named) {
        final String[] stores = texts(step, "stores").toArray(new String[0]);
        final String processor = required(step, "processor");
        Processors.logic(processor);
        if (op.equals("process")) {
            final ProcessorSupplier supplier = () -> Processors.processor(processor, stores);
            return new Handle(named == null ? s.process(supplier, stores) : s.process(supplier, named, stores), Handle.Keys.TEXT, false);
        }
        final FixedKeyProcessorSupplier supplier = () -> Processors.fixedKeyProcessor(processor, stores);
        return of.texts(named == null ? s.processValues(supplier, stores) : s.processValues(supplier, named, stores));
    }

    private Handle streamJoin(final String op, final JsonNode step, final Handle of, final KStream s, final Named named) {
        final Handle with = handle(required(step, "with"));
        final ValueJoinerWithKey joiner = joiner(step);
        if (with.it() instanceof KStream) {
            only(step, "op", "of", "with", "as", "fn", "windows", "stream_joined");
            final KStream other = (KStream) with.it();
            final JoinWindows windows = Options.joinWindows(step);
            final var joined = Options.streamJoined(step, of, with);
            switch (op) {
                case "join": return of.texts(s.join(other, joiner, windows, joined));
                case "left_join": return of.texts(s.leftJoin(other, joiner, windows, joined));
                default: return of.texts(s.outerJoin(other, joiner, windows, joined));
            }
        } else if (with.it() instanceof KTable) {
            only(step, "op", "of", "with", "as", "fn", "joined");
            final KTable other = (KTable) with.it();
            final var joined = Options.joined(step, of, with);
            switch (op) {
                case "join": return of.texts(s.join(other, joiner, joined));
                case "left_join": return of.texts(s.leftJoin(other, joiner, joined));
                default: throw noSuch(op, with);
            }
        }
        only(step, "op", "of", "with", "as", "fn", "key_fn", "name");
        final GlobalKTable other = (GlobalKTable) with.it();
        final KeyValueMapper key = selector(step, "key_fn");
        switch (op) {
            case "join": return of.texts(maybe(named, () -> s.join(other, key, joiner), n -> s.join(other, key, joiner, n)));
            case "left_join": return of.texts(maybe(named, () -> s.leftJoin(other, key, joiner), n -> s.leftJoin(other, key, joiner, n)));
            default: throw noSuch(op, with);
        }
    }

    private Handle ofTable(final String op, final JsonNode step, final Handle of, final KTable t) {
        final Named named = named(step);
        switch (op) {
            case "filter": case "filter_not": {
                only(step, "op", "of", "as", "name", "fn", "materialized");
                final Materialized m = Options.materialized(step, Options.StoreKind.KEY_VALUE, of.keySerde(), of.valueSerde());
                final Predicate p = predicate(step);
                if (op.equals("filter")) {
                    return of.with(m == null
                        ? (named == null ? t.filter(p) : t.filter(p, named))
                        : named == null ? t.filter(p, m) : t.filter(p, named, m));
                }
                return of.with(m == null
                    ? (named == null ? t.filterNot(p) : t.filterNot(p, named))
                    : named == null ? t.filterNot(p, m) : t.filterNot(p, named, m));
            }
            case "map_values": {
                only(step, "op", "of", "as", "name", "fn", "materialized");
                final Materialized m = Options.materialized(step, Options.StoreKind.KEY_VALUE, of.keySerde(), Serdes.String());
                final ValueMapperWithKey mapper = mapper(step);
                return of.texts(m == null
                    ? (named == null ? t.mapValues(mapper) : t.mapValues(mapper, named))
                    : named == null ? t.mapValues(mapper, m) : t.mapValues(mapper, named, m));
            }
            case "transform_values": {
                only(step, "op", "of", "as", "name", "transformer", "stores", "materialized");
                final Materialized m = Options.materialized(step, Options.StoreKind.KEY_VALUE, of.keySerde(), Serdes.String());
                final String[] stores = texts(step, "stores").toArray(new String[0]);
                final ValueTransformerWithKeySupplier supplier = () -> Processors.transformer(required(step, "transformer"), stores);
                return of.texts(m == null
                    ? (named == null ? t.transformValues(supplier, stores) : t.transformValues(supplier, named, stores))
                    : named == null ? t.transformValues(supplier, m, stores) : t.transformValues(supplier, m, named, stores));
            }
            case "to_stream": {
                only(step, "op", "of", "as", "name", "key_fn");
                if (step.has("key_fn")) {
                    final KeyValueMapper key = selector(step, "key_fn");
                    return of.keyed(named == null ? t.toStream(key) : t.toStream(key, named), Handle.Keys.TEXT);
                }
                return of.with(named == null ? t.toStream() : t.toStream(named));
            }
            case "suppress":
                only(step, "op", "of", "as", "suppressed");
                return of.with(t.suppress(Options.suppressed(step)));
            case "group_by":
                only(step, "op", "of", "as", "key_fn", "value_fn", "grouped");
                return new Handle(t.groupBy(pairs(step), Options.grouped(step, (Serde) Serdes.String(), (Serde) Serdes.String())), Handle.Keys.TEXT, false);
            case "join": case "left_join": case "outer_join":
                return tableJoin(op, step, of, t, named);
            default:
                throw noSuch(op, of);
        }
    }

    private Handle tableJoin(final String op, final JsonNode step, final Handle of, final KTable t, final Named named) {
        final KTable other = (KTable) handle(required(step, "with")).it();
        final Functions.Joiner function = Functions.joiner(required(step, "fn"));
        final org.apache.kafka.streams.kstream.ValueJoiner joiner = (left, right) -> function.apply(null, left, right);
        final Materialized m = Options.materialized(step, Options.StoreKind.KEY_VALUE, of.keySerde(), Serdes.String());
        if (step.has("foreign_key_fn")) {
            only(step, "op", "of", "with", "as", "fn", "foreign_key_fn", "table_joined", "materialized");
            final Functions.Mapper extractor = Functions.mapper(required(step, "foreign_key_fn"));
            final java.util.function.BiFunction foreignKey = extractor::apply;
            final boolean hasOptions = step.has("table_joined");
            if (op.equals("join")) {
                return of.texts(m == null
                    ? (hasOptions ? t.join(other, foreignKey, joiner, Options.tableJoined(step)) : t.join(other, foreignKey, joiner))
                    : hasOptions ? t.join(other, foreignKey, joiner, Options.tableJoined(step), m) : t.join(other, foreignKey, joiner, m));
            } else if (op.equals("left_join")) {
                return of.texts(m == null
                    ? (hasOptions ? t.leftJoin(other, foreignKey, joiner, Options.tableJoined(step)) : t.leftJoin(other, foreignKey, joiner))
                    : hasOptions ? t.leftJoin(other, foreignKey, joiner, Options.tableJoined(step), m) : t.leftJoin(other, foreignKey, joiner, m));
            }
            throw new IllegalArgumentException("there is no outer join by foreign key");
        }
        only(step, "op", "of", "with", "as", "fn", "name", "materialized");
        switch (op) {
            case "join":
                return of.texts(m == null
                    ? (named == null ? t.join(other, joiner) : t.join(other, joiner, named))
                    : named == null ? t.join(other, joiner, m) : t.join(other, joiner, named, m));
            case "left_join":
                return of.texts(m == null
                    ? (named == null ? t.leftJoin(other, joiner) : t.leftJoin(other, joiner, named))
                    : named == null ? t.leftJoin(other, joiner, m) : t.leftJoin(other, joiner, named, m));
            default:
                return of.texts(m == null
                    ? (named == null ? t.outerJoin(other, joiner) : t.outerJoin(other, joiner, named))
                    : named == null ? t.outerJoin(other, joiner, m) : t.outerJoin(other, joiner, named, m));
        }
    }

    /** What a grouped stream, a windowed one, a cogrouped one or a grouped table can do. */
    private Handle ofGroups(final String op, final JsonNode step, final Handle of) {
        final Object it = of.it();
        if (op.equals("windowed_by")) {
            only(step, "op", "of", "as", "windows", "emit");
            return windowed(step, of);
        }
        if (op.equals("cogroup")) {
            only(step, "op", "of", "with", "as", "fn");
            if (it instanceof KGroupedStream) {
                return of.texts(((KGroupedStream) it).cogroup(aggregator(step, "fn")));
            }
            final KGroupedStream other = (KGroupedStream) handle(required(step, "with")).it();
            return of.texts(((CogroupedKStream) it).cogroup(other, aggregator(step, "fn")));
        }
        if (!Set.of("count", "reduce", "aggregate").contains(op)) {
            throw noSuch(op, of);
        }
        final Named named = named(step);
        if (it instanceof KGroupedTable) {
            return ofGroupedTable(op, step, of, (KGroupedTable) it, named);
        }
        final Options.StoreKind kind = of.keys().kind() == Handle.Keys.Kind.TEXT ? Options.StoreKind.KEY_VALUE
            : of.keys().kind() == Handle.Keys.Kind.TIME ? Options.StoreKind.WINDOW : Options.StoreKind.SESSION;
        final Serde value = op.equals("count") ? Serdes.Long() : op.equals("reduce") ? of.valueSerde() : Serdes.String();
        final Materialized m = Options.materialized(step, kind, Serdes.String(), value);
        only(step, "op", "of", "as", "name", "fn", "init", "merger", "materialized");
        switch (op) {
            case "count": return of.longs(count(it, named, m));
            case "reduce": return of.with(reduce(it, reducer(step, "fn"), named, m));
            default: return of.texts(aggregate(it, step, named, m));
        }
    }

    private static Object count(final Object it, final Named named, final Materialized m) {
        if (it instanceof KGroupedStream) {
            final KGroupedStream g = (KGroupedStream) it;
            return m == null ? (named == null ? g.count() : g.count(named)) : named == null ? g.count(m) : g.count(named, m);
        } else if (it instanceof TimeWindowedKStream) {
            final TimeWindowedKStream g = (TimeWindowedKStream) it;
            return m == null ? (named == null ? g.count() : g.count(named)) : named == null ? g.count(m) : g.count(named, m);
        }
        final SessionWindowedKStream g = (SessionWindowedKStream) it;
        return m == null ? (named == null ? g.count() : g.count(named)) : named == null ? g.count(m) : g.count(named, m);
    }

    private static Object reduce(final Object it, final Reducer r, final Named named, final Materialized m) {
        if (it instanceof KGroupedStream) {
            final KGroupedStream g = (KGroupedStream) it;
            // There is no overload with a name alone.
            if (m == null && named != null) {
                throw new IllegalArgumentException("a named reduce needs 'materialized'");
            }
            return m == null ? g.reduce(r) : named == null ? g.reduce(r, m) : g.reduce(r, named, m);
        } else if (it instanceof TimeWindowedKStream) {
            final TimeWindowedKStream g = (TimeWindowedKStream) it;
            return m == null ? (named == null ? g.reduce(r) : g.reduce(r, named)) : named == null ? g.reduce(r, m) : g.reduce(r, named, m);
        }
        final SessionWindowedKStream g = (SessionWindowedKStream) it;
        return m == null ? (named == null ? g.reduce(r) : g.reduce(r, named)) : named == null ? g.reduce(r, m) : g.reduce(r, named, m);
    }

    private static Object aggregate(final Object it, final JsonNode step, final Named named, final Materialized m) {
        final Initializer i = initializer(step);
        if (it instanceof CogroupedKStream) {
            final CogroupedKStream g = (CogroupedKStream) it;
            return m == null ? (named == null ? g.aggregate(i) : g.aggregate(i, named)) : named == null ? g.aggregate(i, m) : g.aggregate(i, named, m);
        } else if (it instanceof TimeWindowedCogroupedKStream) {
            final TimeWindowedCogroupedKStream g = (TimeWindowedCogroupedKStream) it;
            return m == null ? (named == null ? g.aggregate(i) : g.aggregate(i, named)) : named == null ? g.aggregate(i, m) : g.aggregate(i, named, m);
        } else if (it instanceof SessionWindowedCogroupedKStream) {
            final SessionWindowedCogroupedKStream g = (SessionWindowedCogroupedKStream) it;
            final Merger merger = merger(step);
            return m == null ? (named == null ? g.aggregate(i, merger) : g.aggregate(i, merger, named)) : named == null ? g.aggregate(i, merger, m) : g.aggregate(i, merger, named, m);
        }
        final Aggregator a = aggregator(step, "fn");
        if (it instanceof KGroupedStream) {
            final KGroupedStream g = (KGroupedStream) it;
            if (m == null && named != null) {
                throw new IllegalArgumentException("a named aggregate needs 'materialized'");
            }
            return m == null ? g.aggregate(i, a) : named == null ? g.aggregate(i, a, m) : g.aggregate(i, a, named, m);
        } else if (it instanceof TimeWindowedKStream) {
            final TimeWindowedKStream g = (TimeWindowedKStream) it;
            return m == null ? (named == null ? g.aggregate(i, a) : g.aggregate(i, a, named)) : named == null ? g.aggregate(i, a, m) : g.aggregate(i, a, named, m);
        }
        final SessionWindowedKStream g = (SessionWindowedKStream) it;
        final Merger merger = merger(step);
        return m == null ? (named == null ? g.aggregate(i, a, merger) : g.aggregate(i, a, merger, named)) : named == null ? g.aggregate(i, a, merger, m) : g.aggregate(i, a, merger, named, m);
    }

    private static Handle ofGroupedTable(final String op, final JsonNode step, final Handle of, final KGroupedTable g, final Named named) {
        only(step, "op", "of", "as", "name", "fn", "subtractor", "init", "materialized");
        final Serde value = op.equals("count") ? Serdes.Long() : Serdes.String();
        final Materialized m = Options.materialized(step, Options.StoreKind.KEY_VALUE, Serdes.String(), value);
        switch (op) {
            case "count":
                return of.longs(m == null ? (named == null ? g.count() : g.count(named)) : named == null ? g.count(m) : g.count(named, m));
            case "reduce": {
                final Reducer add = reducer(step, "fn");
                final Reducer subtract = reducer(step, "subtractor");
                if (m == null && named != null) {
                    throw new IllegalArgumentException("a named reduce needs 'materialized'");
                }
                return of.with(m == null ? g.reduce(add, subtract) : named == null ? g.reduce(add, subtract, m) : g.reduce(add, subtract, named, m));
            }
            default: {
                final Initializer i = initializer(step);
                final Aggregator add = aggregator(step, "fn");
                final Aggregator subtract = aggregator(step, "subtractor");
                return of.texts(m == null
                    ? (named == null ? g.aggregate(i, add, subtract) : g.aggregate(i, add, subtract, named))
                    : named == null ? g.aggregate(i, add, subtract, m) : g.aggregate(i, add, subtract, named, m));
            }
        }
    }

    private static Handle windowed(final JsonNode step, final Handle of) {
        final JsonNode node = step.get("windows");
        only(node, "type", "size", "advance", "grace", "difference", "gap", "start");
        final String emit = text(step, "emit");
        final EmitStrategy strategy = emit == null ? null
            : emit.equals("on_window_close") ? EmitStrategy.onWindowClose() : EmitStrategy.onWindowUpdate();
        final boolean hasGrace = node.has("grace");
        final java.time.Duration grace = Options.ms(node, "grace", 0);
        switch (required(node, "type")) {
            case "time": {
                final java.time.Duration size = Options.ms(node, "size", 0);
                TimeWindows windows = hasGrace ? TimeWindows.ofSizeAndGrace(size, grace) : TimeWindows.ofSizeWithNoGrace(size);
                if (node.has("advance")) {
                    windows = windows.advanceBy(Options.ms(node, "advance", 0));
                }
                return time(of, strategy, windows, windows.sizeMs);
            }
            case "unlimited": {
                UnlimitedWindows windows = UnlimitedWindows.of();
                if (node.has("start")) {
                    windows = windows.startOn(java.time.Instant.ofEpochMilli(Options.number(node, "start", 0)));
                }
                return time(of, strategy, windows, Long.MAX_VALUE);
            }
            case "sliding": {
                final java.time.Duration difference = Options.ms(node, "difference", 0);
                final SlidingWindows windows = hasGrace
                    ? SlidingWindows.ofTimeDifferenceAndGrace(difference, grace)
                    : SlidingWindows.ofTimeDifferenceWithNoGrace(difference);
                if (of.it() instanceof CogroupedKStream) {
                    return of.keyed(((CogroupedKStream) of.it()).windowedBy(windows), Handle.Keys.time(difference.toMillis()));
                }
                final TimeWindowedKStream windowed = ((KGroupedStream) of.it()).windowedBy(windows);
                return of.keyed(strategy == null ? windowed : windowed.emitStrategy(strategy), Handle.Keys.time(difference.toMillis()));
            }
            case "session": {
                final java.time.Duration gap = Options.ms(node, "gap", 0);
                final SessionWindows windows = hasGrace
                    ? SessionWindows.ofInactivityGapAndGrace(gap, grace)
                    : SessionWindows.ofInactivityGapWithNoGrace(gap);
                if (of.it() instanceof CogroupedKStream) {
                    return of.keyed(((CogroupedKStream) of.it()).windowedBy(windows), Handle.Keys.SESSION);
                }
                final SessionWindowedKStream windowed = ((KGroupedStream) of.it()).windowedBy(windows);
                return of.keyed(strategy == null ? windowed : windowed.emitStrategy(strategy), Handle.Keys.SESSION);
            }
            default: throw Functions.unknown("type of windows", text(node, "type"));
        }
    }

    private static Handle time(final Handle of, final EmitStrategy strategy, final org.apache.kafka.streams.kstream.Windows windows, final long size) {
        if (of.it() instanceof CogroupedKStream) {
            return of.keyed(((CogroupedKStream) of.it()).windowedBy(windows), Handle.Keys.time(size));
        }
        final TimeWindowedKStream windowed = ((KGroupedStream) of.it()).windowedBy(windows);
        return of.keyed(strategy == null ? windowed : windowed.emitStrategy(strategy), Handle.Keys.time(size));
    }
}
