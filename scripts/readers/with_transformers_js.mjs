// transformers.js: node --input-type=module --eval THIS FOLDER < texts > {version, vectors}, beside its node_modules
import fs from 'fs';
import path from 'path';
import { env, pipeline } from '@huggingface/transformers';
const folder = process.argv[1];
const modes = JSON.parse(fs.readFileSync(path.join(folder, '1_Pooling', 'config.json')));
const pooling = { cls_token: 'cls', mean_tokens: 'mean', lasttoken: 'last_token' };
const mode = Object.keys(pooling).find((mode) => modes[`pooling_mode_${mode}`]);
env.localModelPath = path.dirname(folder);
env.allowRemoteModels = false;
const options = { dtype: 'fp32', use_external_data_format: true };
const embed = await pipeline('feature-extraction', path.basename(folder), options);
const rows = await embed(JSON.parse(fs.readFileSync(0)), { pooling: pooling[mode], normalize: true });
console.log(JSON.stringify({ version: env.version, vectors: rows.tolist() }));
